"""Sources of labeled pictures, whatever holds them: the input of encoding and of reference statistics.

`SOURCES` is the table of kinds; `archives` and `parquet` say how each is listed and read. Digits have one channel,
pictures from files three. Only names, labels and locations are kept in memory; each picture is read when it is needed.
"""

import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..experiment.schema import Data
from ..system.errors import UserError, reason
from . import archives
from .class_sampling import evenly_spaced_in_class
from .fingerprint import listing_fingerprint
from .listing import DamagedPicture, PackedStrings, PictureListing, read_index, write_index
from .parquet import ParquetReader, list_parquet, shard_files
from .pictures import FORMATS, Picture, decode_digit, decode_picture, resize_and_crop

Reader = Callable[[int], bytes]  # index of a picture -> its stored bytes; DamagedPicture where they cannot be read


class SourceKind(NamedTuple):
    """How one kind of source is listed, read and decoded."""

    class_order: str  # how classes and labels are fixed, as manifests describe it
    list_pictures: Callable[[str, bool, bool], PictureListing]  # path, whether classes matter, whether links lead out
    make_reader: Callable[[str, PictureListing], Reader]
    channels: int = 3
    decode: Callable[[bytes], Image.Image] = decode_picture


BY_FOLDER = "class folders sorted by name; ImageNet's own order where they are synsets"
SOURCES = {
    "mnist": SourceKind("the digits", archives.list_digits, archives.DigitReader, 1, decode_digit),
    "folder": SourceKind(BY_FOLDER, archives.list_folder, archives.FolderReader),
    "zip": SourceKind(BY_FOLDER, archives.list_zip, archives.ZipReader),
    "tar": SourceKind(BY_FOLDER, archives.list_tar, archives.TarReader),
    "parquet": SourceKind("the label column as it is", list_parquet, ParquetReader),
}


@dataclass(frozen=True)
class PictureSource:
    """Labeled pictures in a fixed order: `names[i]` belongs to `classes[labels[i]]`. Worker processes get a copy."""

    kind: str  # a key of SOURCES
    location: str  # the path, or the kind of a built-in source; names the source in messages
    channels: int
    listing: PictureListing
    read: Reader
    decode: Callable[[bytes], Image.Image]  # stored bytes -> a picture of mode L (one channel) or RGB (three)
    selected: NDArray[np.int64] | None = None  # indices into the listing of the pictures that count; None: all do

    @property
    def classes(self) -> Sequence[str]:
        return self.listing.classes

    @property
    def names(self) -> Sequence[str]:
        names = self.listing.names
        return names if self.selected is None else PackedStrings.pack(names[index] for index in self.selected)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.listing.labels if self.selected is None else self.listing.labels[self.selected]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of which pictures the source holds, those that do not count among them; see `fingerprint`."""
        return listing_fingerprint(self.kind, self.location, self.listing, self.read)

    def __len__(self) -> int:
        return len(self.listing.names if self.selected is None else self.selected)

    def picture(self, index: int, resolution: int) -> Picture:
        """Read, decode, resize and crop picture `index`. Raises UserError when its file cannot be read at all."""
        listed = index if self.selected is None else int(self.selected[index])
        name, label = self.listing.names[listed], int(self.listing.labels[listed])
        try:
            stored = self.read(listed)
        except DamagedPicture as error:
            return Picture(name, label, None, str(error), f"{name}\0damaged")
        except MemoryError:
            return Picture(name, label, None, "out of memory", f"{name}\0damaged")
        except (OSError, RuntimeError, NotImplementedError) as error:  # not permitted, encrypted, unknown compression
            raise UserError(f"{self.location}: {name}: cannot be read ({error})") from None
        identity = f"{name}\0{len(stored)}\0{zlib.crc32(stored):08x}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of harmless oddities such as corrupt EXIF blocks
                crop = np.asarray(resize_and_crop(self.decode(stored), resolution))
        except Exception as error:  # decoders raise nearly anything on broken input
            return Picture(name, label, None, _reason(error), identity)
        return Picture(name, label, crop.reshape(resolution, resolution, self.channels), None, identity)


def _reason(error: Exception) -> str:
    """Why a picture cannot be decoded, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return f"unknown format; expected one of {' '.join(FORMATS)}"
    return reason(error)


def open_source(data: Data, index: str | Path | None = None, labeled: bool = True) -> PictureSource:
    """The source that `data` names, with its pictures listed (or the listing read from the file `index`).

    Pictures that `data.holdout` withholds from training do not count (see `holdout`). Unless `labeled`, classes do not
    matter: pictures need not be in class folders, and all belong to one class. Raises UserError when the path holds no
    such source, when the index is of another one, and when too few pictures would be left.
    """
    source = open_whole_source(data, index, labeled)
    if not isinstance(data.holdout, int):
        return source
    kept = np.setdiff1d(np.arange(len(source)), withheld_pictures(source, data.holdout))
    return replace(source, selected=kept)


def open_whole_source(data: Data, index: str | Path | None = None, labeled: bool = True) -> PictureSource:
    """As `open_source`, with the pictures that are withheld from training among the others."""
    kind, location = SOURCES[data.source], data.path or data.source
    if index is None:
        listing = kind.list_pictures(location, labeled, data.links == "follow")
    else:
        listing = read_index(index, data.source, location, _archive_state(data.source, location))
    reader = kind.make_reader(location, listing)
    return PictureSource(data.source, location, kind.channels, listing, reader, kind.decode)


def withheld_pictures(source: PictureSource, count: int) -> NDArray[np.int64]:
    """Indices of `count` pictures per class, evenly spaced within the class, that are not trained on; ascending.

    Raises UserError for a class with less than twice as many.
    """
    check_labels(source)
    sizes = np.bincount(source.labels, minlength=len(source.classes))
    smallest = int(sizes.argmin())
    if sizes[smallest] < 2 * count:
        raise UserError(
            f"data.holdout: {count} pictures per class, but class {source.classes[smallest]} of {source.location} has "
            f"{sizes[smallest]}; expected at most {sizes[smallest] // 2}, so that as many are left to train on"
        )
    return evenly_spaced_in_class(source.labels, np.full(len(sizes), count))


def check_labels(source: PictureSource) -> None:
    """Raise UserError for a label that is no index of a class."""
    outside = (source.labels < 0) | (source.labels >= len(source.classes))
    if outside.any():
        index = int(outside.argmax())
        raise UserError(
            f"{source.location}: {source.names[index]}: label {source.labels[index]} is out of range; "
            f"expected 0 to {len(source.classes) - 1} for {len(source.classes)} classes"
        )


def save_index(source: PictureSource, path: str | Path) -> None:
    """Write the listing of `source` to `path`, for `open_source(data, index=path)`."""
    write_index(path, source.kind, _archive_state(source.kind, source.location), source.listing)


def _archive_state(kind: str, path: str) -> NDArray[np.int64]:
    """Sizes and times (ns) of a source's archives, which identify their state; a folder has none."""
    files = [path] if kind in ("zip", "tar") else shard_files(path) if kind == "parquet" else []
    try:
        stats = [os.stat(file) for file in files]
    except OSError as error:
        raise UserError(f"data.path: {path}: cannot be read ({error.strerror})") from None
    return np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats], dtype=np.int64)


def source_kind(path: str) -> str:
    """The kind of source at a path: by its suffix, or for a folder by whether it holds Parquet files."""
    suffix = Path(path).suffix.lower()
    if suffix in (".zip", ".tar", ".parquet"):
        return suffix[1:]
    if not os.path.isdir(path):
        problem = "no such folder" if not os.path.exists(path) else "not a folder"
        raise UserError(
            f"{path}: {problem}; expected a folder, .zip, .tar or .parquet of images, or .npz or .pt statistics"
        )
    return "parquet" if any(Path(path).glob("*.parquet")) else "folder"


def other_data(data: Data, path: str) -> Data:
    """The `data` section by which other pictures, at `path`, are prepared as those of `data` are, all of them."""
    return data.model_copy(update={"source": source_kind(path), "path": path, "holdout": None})


def read_pictures(source: PictureSource, data: Data, indices: Sequence[int] | None = None) -> Iterator[Picture]:
    """The pictures of `source`, or those at `indices`, read as they are asked for.

    A broken picture raises UserError, which names it; with `data.broken: skip` it comes with `crop` None.
    """
    for index in range(len(source)) if indices is None else indices:
        picture = source.picture(int(index), data.resolution)
        if picture.broken and data.broken == "error":
            raise UserError(
                f"{source.location}: {picture.name}: broken picture ({picture.broken}); "
                "replace it, remove it, or leave it out with data.broken: skip"
            )
        yield picture


def rgb_images(
    source: PictureSource, data: Data, indices: Sequence[int] | None = None
) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """The images as encoding sees them, each uint8 (R, R, 3), with their labels; never mirrored, read lazily.

    Grayscale is repeated to three channels. Broken pictures are left out with `data.broken: skip`.
    """
    for picture in read_pictures(source, data, indices):
        if picture.crop is not None:
            yield np.broadcast_to(picture.crop, (*picture.crop.shape[:2], 3)), picture.label
