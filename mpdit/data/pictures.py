"""Labelled pictures, wherever they come from, as square 8-bit crops: the input of encoding and of reference statistics.

`archives` says what sources there are and how classes and labels are fixed. Digits have one channel, pictures from
files three. Nothing but names, labels and places is kept in memory: every picture is read when its turn comes.

Preprocessing is ADM's (Dhariwal & Nichol, arXiv 2105.05233, `image_datasets.py`), which DiT's and the paper's latents
and all published reference statistics are made with, and which is free of aliasing for any ratio: halve by box
averaging while the shorter side is at least twice the resolution, bring the shorter side to the resolution with
Pillow's (antialiased) bicubic filter, crop the centre. Pictures that have the resolution already are left as they are.
"""

import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..experiment.grid import check_data
from ..system.errors import UserError
from ..system.files import replacing
from . import archives as sources
from .archives import Damaged, Listing, Names
from .parquet import ParquetReader, list_parquet, shards

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
    """Labelled pictures in a fixed order: `names[i]` belongs to `classes[labels[i]]`. Goes to worker processes."""

    kind: str
    where: str  # how errors call it
    channels: int
    classes: Sequence[str]
    names: Sequence[str]
    labels: np.ndarray  # (N,) int64
    read: Callable[[int], bytes]  # number -> the stored bytes; Damaged where an archive is
    decode: Callable[[bytes], Image.Image]  # stored bytes -> a picture of mode L (one channel) or RGB (three)

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int, resolution: int) -> Picture:
        """Read, decode, resize and crop picture `index`. UserError when its file can't be read at all."""
        name, label = self.names[index], int(self.labels[index])
        try:
            stored = self.read(index)
        except Damaged as error:
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


def decode_digit(stored: bytes) -> Image.Image:
    return Image.frombytes("L", (28, 28), stored)


# Sources


class Kind(NamedTuple):
    """How pictures may lie."""

    class_order: str  # how classes and labels are fixed, as manifests say it
    list: Callable[[str | None, bool], Listing]  # path, whether classes matter
    reader: Callable[[str | None, Listing], Callable[[int], bytes]]
    channels: int = 3
    decode: Callable[[bytes], Image.Image] = decode_picture


BY_FOLDER = "class folders sorted by name; ImageNet's own order where they are synsets"
SOURCES = {
    "mnist": Kind("the digits", sources.list_digits, sources.DigitReader, 1, decode_digit),
    "folder": Kind(BY_FOLDER, sources.list_folder, sources.FolderReader),
    "zip": Kind(BY_FOLDER, sources.list_zip, sources.ZipReader),
    "tar": Kind(BY_FOLDER, sources.list_tar, sources.TarReader),
    "parquet": Kind("the label column as it is", list_parquet, ParquetReader),
}


def open_source(data: Mapping, index: str | Path | None = None, labelled: bool = True) -> Source:
    """The source that `data` names, with its pictures listed (or the listing read from `index`) and none read.

    Without `labelled` pictures may lie in no class folder and have any label: all are of one class. UserError when it
    can't be a source, or when the index is of another one.
    """
    data = check_data(data)
    name, path = data["source"], data["path"]
    kind = SOURCES[name]
    listing = kind.list(path, labelled) if index is None else _read_index(index, name, path)
    read = kind.reader(path, listing)
    return Source(name, path or name, kind.channels, *listing[:3], read, kind.decode)


def kind_of(path: str) -> str:
    """The kind of source that a path is: by its suffix; folders and patterns, by whether they are of Parquet files."""
    suffix = Path(path).suffix.lower()
    if suffix in (".zip", ".tar", ".parquet"):
        return suffix[1:]
    if not os.path.isdir(path):
        found = "no such folder" if not os.path.exists(path) else "not a folder"
        raise UserError(
            f"{path}: {found}: must be a folder, .zip, .tar or .parquet of images, or .npz or .pt statistics"
        )
    return "parquet" if any(Path(path).glob("*.parquet")) else "folder"


def save_index(source: Source, path: str | Path) -> None:
    """Write what is known of a source's pictures as an .npz of plain arrays, for `open_source(data, index=path)`."""
    listing = source.read.listing
    classes, names = Names.pack(listing.classes), Names.pack(listing.names)
    arrays = {
        "kind": np.array(source.kind),
        "states": _states(source.kind, source.where),
        "labels": listing.labels,
        **{f"classes_{part}": getattr(classes, part) for part in ("text", "ends")},
        **{f"names_{part}": getattr(names, part) for part in ("text", "ends")},
        **{f"places_{key}": array for key, array in listing.places.items()},
    }
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def _read_index(path: str | Path, kind: str, source: str | None) -> Listing:
    again = f"must be made again from {source or kind}"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        classes, names = (Names(arrays[f"{key}_text"], arrays[f"{key}_ends"]) for key in ("classes", "names"))
        places = {key.removeprefix("places_"): rows for key, rows in arrays.items() if key.startswith("places_")}
        found, states, labels = str(arrays["kind"]), arrays["states"], arrays["labels"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path}: not an index of pictures, or damaged: {again}") from None
    if found != kind:
        raise UserError(f"{path}: an index of a {found}: {again}")
    if not np.array_equal(states, _states(kind, source)):
        raise UserError(f"{path}: an index of another file, or of another state of it: {again}")
    return Listing(list(classes), names, labels, places)


def _states(kind: str, path: str | None) -> np.ndarray:
    """Sizes and times (ns) of a source's archives, which tell an index of another state; a folder has none."""
    files = {"zip": [path], "tar": [path], "parquet": shards(path) if kind == "parquet" else []}.get(kind, [])
    try:
        states = [os.stat(file) for file in files]
        return np.array([(state.st_size, state.st_mtime_ns) for state in states], dtype=np.int64)
    except OSError as error:
        raise UserError(f"data.path: {path}: can't be read ({error.strerror}): must be the {kind} of images") from None
