"""The seal of a safetensors file: a checksum over every byte, in the metadata of the file's own header.

It is written as zeros first and filled in at the end, so the file is whole, and sealed, when it is moved into place.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from operator import ne
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

KEY = "file_xxh3_128"
UNSEALED = {KEY: "0" * 32}  # metadata to write a file with before `fill_in`
READ_BYTES = 2**22  # at once
LARGEST_HEADER = 100 * 2**20  # bytes; safetensors' own limit
# By the key of the metadata: SHA-256 is what checkpoints had in version 0.1.
ALGORITHMS: Mapping[str, Callable[[], Any]] = {KEY: xxhash.xxh3_128, "file_sha256": hashlib.sha256}
_SEAL = re.compile(rb'"(file_xxh3_128|file_sha256)":"((?:[0-9a-f]{32}){1,2})"')  # metadata are plain JSON


def fill_in(path: Path) -> None:
    """Seal a file that was written with the metadata UNSEALED."""
    with open(path, "rb+") as file:
        key, _, position = _find(file)
        digest = _digest(file, key, position)
        file.seek(position)
        file.write(digest.encode())


def inspect(path: str | Path) -> tuple[bool, str | None]:
    """Whether the file has a seal, and what is wrong with it, or None. Any changed, missing or added byte is noticed.

    Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as file:
        key, seal, position = _find(file)
        if not key:
            header = _parsed(_header(file))
            if header is None:
                return False, "not a safetensors file"
            return (True, "its seal cannot be read") if _has_damaged_seal(header) else (False, None)
        return True, None if _digest(file, key, position) == seal else "its content does not match its seal"


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a file: text by name; none if it has none. Raises ValueError if it is no safetensors file."""
    with open(path, "rb") as file:
        header = _parsed(_header(file))
    if header is None:
        raise ValueError("not a safetensors file")
    metadata = header.get("__metadata__", {})
    return metadata if isinstance(metadata, dict) else {}


def _has_damaged_seal(header: Mapping[str, Any]) -> bool:
    """Whether the metadata have the key of a seal, perhaps with one character changed, and no seal behind it."""
    metadata = header.get("__metadata__")
    return isinstance(metadata, dict) and any(
        len(name) == len(key) and sum(map(ne, name, key)) <= 1 for name in metadata for key in ALGORITHMS
    )


def _parsed(header: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(header)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _header(file: BinaryIO) -> bytes:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    return file.read(min(length, LARGEST_HEADER))


def _find(file: BinaryIO) -> tuple[str, str, int]:
    """The key of the seal in the file's header, the seal, and the position of its first byte; ("", "", 0) for none."""
    match = _SEAL.search(_header(file))
    if match is None or len(match[2]) != 2 * ALGORITHMS[match[1].decode()]().digest_size:
        return "", "", 0
    return match[1].decode(), match[2].decode(), 8 + match.start(2)


def _digest(file: BinaryIO, key: str, position: int) -> str:
    """The checksum of the file before its seal, at byte `position`, was filled in."""
    digest = ALGORITHMS[key]()
    zeros = b"0" * (2 * digest.digest_size)
    file.seek(0)
    digest.update(file.read(position))
    digest.update(zeros)
    file.seek(position + len(zeros))
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
    return str(digest.hexdigest())
