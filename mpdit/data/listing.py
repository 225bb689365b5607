"""Listings of pictures: their names, labels and locations in packed arrays, and the index file that stores them.

A source is listed once, without reading a picture. The listing goes to worker processes, and an index file spares the
jobs that encode shards from listing the source again.
"""

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..system.errors import UserError
from ..system.files import replacing
from ..system.seals import require_intact

LARGEST_FILE = 2**30  # bytes of a stored picture: as many as 16-bit RGB takes of `pictures.LARGEST_AREA` pixels


class DamagedPicture(Exception):
    """The stored bytes of one picture cannot be read, although its archive can: the picture is broken."""


def check_size(size: int) -> None:
    """Raise DamagedPicture for a picture that is stored in more bytes than one may have."""
    if size > LARGEST_FILE:
        raise DamagedPicture(f"{size:,} bytes; at most {LARGEST_FILE:,} are read")


class PackedStrings(Sequence[str]):
    """Strings packed into one array, so that 1.28 million names take their characters and eight bytes each."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]):
        self.text, self.ends = text, ends  # (bytes,) and (N,)

    @classmethod
    def pack(cls, strings: Iterable[str]) -> "PackedStrings":
        text, ends = bytearray(), array("q")
        for string in strings:
            text += string.encode("utf-8", "surrogateescape")
            ends.append(len(text))
        return cls(np.frombuffer(text, dtype=np.uint8), np.frombuffer(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # raises IndexError, and counts negative indices from the end
        start = self.ends[index - 1] if index else 0
        return self.text[start : self.ends[index]].tobytes().decode("utf-8", "surrogateescape")


class PictureListing(NamedTuple):
    """What listing a source finds out; together with the source's path, all that reading a picture needs."""

    classes: Sequence[str]
    names: Sequence[str]  # of the N pictures, in order
    labels: NDArray[np.int64]  # (N,) indices into `classes`
    locations: dict[str, np.ndarray]  # where the pictures are, in arrays that the source's reader understands


def write_index(path: str | Path, kind: str, archive_state: NDArray[np.int64], listing: PictureListing) -> None:
    """Write the listing of a source of this kind to `path`, an .npz of plain arrays.

    `archive_state` identifies the state of the archives that were listed, in numbers such as sizes and times.
    """
    classes, names = PackedStrings.pack(listing.classes), PackedStrings.pack(listing.names)
    arrays = {
        "kind": np.array(kind),
        "states": archive_state,
        "labels": listing.labels,
        "classes_text": classes.text,
        "classes_ends": classes.ends,
        "names_text": names.text,
        "names_ends": names.ends,
        **{f"places_{key}": rows for key, rows in listing.locations.items()},
    }
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the arrays for `allow_pickle`


def read_index(path: str | Path, kind: str, location: str, archive_state: NDArray[np.int64]) -> PictureListing:
    """The listing that `write_index` wrote to `path`.

    Raises UserError when the file is missing, damaged, or the index of another source than the one at `location`, whose
    archives are in the state `archive_state`.
    """
    list_again = f"list {location} again with mpdit encode --list"
    require_intact(path, list_again)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        classes, names = (PackedStrings(arrays[f"{key}_text"], arrays[f"{key}_ends"]) for key in ("classes", "names"))
        locations = {key.removeprefix("places_"): rows for key, rows in arrays.items() if key.startswith("places_")}
        stored_kind, stored_state, labels = str(arrays["kind"]), arrays["states"], arrays["labels"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception:  # numpy and zipfile raise nearly anything on damaged content
        raise UserError(f"{path}: damaged, or not an index of pictures; {list_again}") from None
    if stored_kind != kind:
        raise UserError(f"{path}: this is the index of a source of kind {stored_kind}, not {kind}; {list_again}")
    if not np.array_equal(stored_state, archive_state):
        raise UserError(f"{path}: the indexed files are others, or have changed since; {list_again}")
    return PictureListing(list(classes), names, labels, locations)
