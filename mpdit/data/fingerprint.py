"""The fingerprint of a source: which pictures it holds, whatever they are packed in.

The same pictures in a folder, a zip or a tar have the same fingerprint. It covers classes, names, labels and sizes of
all pictures, and the stored bytes of a few, so that no picture but these is read: other pictures under the same names
and of the same sizes are noticed too.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from itertools import repeat

import numpy as np

from ..system.errors import UserError
from .listing import DamagedPicture, PictureListing

PROBES = 16  # pictures whose bytes are read, evenly spaced in the listing


def listing_fingerprint(kind: str, location: str, listing: PictureListing, read: Callable[[int], bytes]) -> str:
    """SHA-256 over the listing of a source of this kind, as 64 hex digits; `read` gives a picture's stored bytes.

    Raises UserError for a picture that cannot be read, as reading all of them would.
    """
    digest = hashlib.sha256(json.dumps(list(listing.classes)).encode())
    # Rows of Parquet files have no names of their own, only those of the files that they happen to be in.
    names: Iterable[str] = repeat("") if kind == "parquet" else listing.names
    for label, size, name in zip(listing.labels.tolist(), _sizes(kind, location, listing), names, strict=False):
        digest.update(f"\n{label} {size} {name}".encode("utf-8", "surrogateescape"))
    count = len(listing.names)
    for index in np.linspace(0, count - 1, min(PROBES, count)).astype(int).tolist():
        digest.update(f"\n{index} ".encode() + _content(location, listing, read, index))
    return digest.hexdigest()


def _sizes(kind: str, location: str, listing: PictureListing) -> Iterable[int | str]:
    """The size of each picture in bytes, as far as it is known without reading it."""
    if kind == "folder":
        return (_size(location, name) for name in listing.names)
    members, column = listing.locations.get("members"), {"zip": 2, "tar": 1}.get(kind)
    if members is None or column is None:
        return repeat("")
    sizes: list[int] = members[:, column].tolist()
    return sizes


def _size(location: str, name: str) -> int:
    try:
        return os.stat(os.path.join(location, name)).st_size
    except OSError as error:
        raise UserError(f"{location}: {name}: cannot be read ({error.strerror})") from None


def _content(location: str, listing: PictureListing, read: Callable[[int], bytes], index: int) -> bytes:
    try:
        return hashlib.sha256(read(index)).digest()
    except DamagedPicture:
        return b"damaged"
    except (OSError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{location}: {listing.names[index]}: cannot be read ({error})") from None
