"""Seals: checksums written with files, so that a changed bit or a lost line is noticed when they are read.

A seal is the XXH3-128 of what a file holds. Where it is kept depends on the kind of file:

    safetensors   in the metadata of its header (`safetensors_seal`)
    JSON          as its last key, `seal`, computed over all the others
    latents       the arrays' in their manifest.json (`array_seal`)
    all others    in a hidden file beside it, `.NAME.seal`, with a line `xxh3_128 DIGEST BYTES` for each content that is
                  right: two while a file is being replaced, so that it agrees with its seal whenever a process is
                  killed. A line that ends in `grows` seals the first BYTES of a file to which rows are still added.

Files of version 0.1 have no seals. They are accepted, and `unsealed_note` says so once per command.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import xxhash

from . import safetensors_seal
from .checked_once import record_check, was_checked
from .errors import UserError

ALGORITHM = "xxh3_128"
KEY = "seal"  # of JSON files
READ_BYTES = 2**22  # at once
CHANGED = "its content is not what was written"
REMEDY = "restore it from a copy, or delete it and run `snakemake` again"


@dataclass(frozen=True)
class Seal:
    """What a file holds: the checksum and the number of its bytes or, of a file that grows, of its first bytes."""

    digest: str
    size: int
    grows: bool = False

    @classmethod
    def of_bytes(cls, data: bytes, grows: bool = False) -> Self:
        return cls(xxhash.xxh3_128_hexdigest(data), len(data), grows)

    @classmethod
    def of_file(cls, path: str | Path, grows: bool = False) -> Self:
        size = os.stat(path).st_size
        return cls(_digest_of_first(path, size), size, grows)

    @classmethod
    def parse(cls, line: str) -> Self:
        """The seal in a line of a `.seal` file. Raises ValueError for any other line."""
        algorithm, digest, size, *rest = line.split()
        if algorithm != ALGORITHM or rest not in ([], ["grows"]):
            raise ValueError(line)
        return cls(digest, int(size), bool(rest))

    def __str__(self) -> str:
        return f"{ALGORITHM} {self.digest} {self.size}{' grows' if self.grows else ''}"

    def fits(self, path: str | Path, size: int) -> bool:
        """Whether the file of `size` bytes holds what was sealed."""
        return self._fits_size(size) and _digest_of_first(path, self.size) == self.digest

    def fits_bytes(self, data: bytes) -> bool:
        """Whether this content of a file is what was sealed."""
        return self._fits_size(len(data)) and xxhash.xxh3_128_hexdigest(data[: self.size]) == self.digest

    def _fits_size(self, size: int) -> bool:
        return size >= self.size if self.grows else size == self.size


class DamagedSealError(ValueError):
    """A file that holds seals cannot be read; the message says why."""


# ---------------------------------------------------------------------------------------------------------------------
# Where seals are


def seal_file(path: str | Path) -> Path:
    """The hidden file beside `path` that holds its seal."""
    path = Path(path)
    return path.with_name(f".{path.name}.seal")


def read_seals(path: str | Path) -> tuple[Seal, ...]:
    """The seals in the hidden file beside `path`; none if there is no such file.

    Raises DamagedSealError if that cannot be read.
    """
    file = seal_file(path)
    try:
        seals = tuple(map(Seal.parse, file.read_text().splitlines()))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise DamagedSealError(f"{file.name} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not seals:
        raise DamagedSealError(f"{file.name} is empty")
    return seals


def seal_text(seals: Iterable[Seal]) -> str:
    """What the hidden file holds."""
    return "".join(f"{seal}\n" for seal in seals)


def json_seal(values: dict[str, Any]) -> str:
    """The seal of a JSON object, of all its keys but `seal`, however it is laid out."""
    plain = json.loads(json.dumps({key: value for key, value in values.items() if key != KEY}))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return f"{ALGORITHM}:{xxhash.xxh3_128_hexdigest(text.encode())}"


def array_seal(path: str | Path) -> str:
    """The seal of a .npy file, of its data first and its header last, as the header is written when the count is known.

    Raises ValueError if the file is no .npy file, OSError if it cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(10)
        if start[:6] != b"\x93NUMPY" or start[6:7] != b"\x01":
            raise ValueError("not an array in the .npy format")
        header, seal = start + file.read(int.from_bytes(start[8:10], "little")), ArraySeal()
        while chunk := file.read(READ_BYTES):
            seal.update(chunk)
    return seal.finish(header)


class ArraySeal:
    """The seal of a .npy file that is being written, from its data in order and, at the end, its header."""

    def __init__(self) -> None:
        self._digest = xxhash.xxh3_128()

    def update(self, data: bytes | memoryview) -> None:
        self._digest.update(data)

    def finish(self, header: bytes) -> str:
        self._digest.update(header)
        return f"{ALGORITHM}:{self._digest.hexdigest()}"


# ---------------------------------------------------------------------------------------------------------------------
# Checking


@dataclass(frozen=True)
class Inspection:
    """Whether a file has a seal, and what is wrong with the file, in words; None if nothing is."""

    sealed: bool
    damage: str | None = None


def inspect(path: str | Path) -> Inspection:
    """Read a whole file and compare it with its seal. Arrays of latents are compared by those who read the manifest."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            sealed, damage = safetensors_seal.inspect(path)
            return Inspection(sealed, damage)
        if seal_file(path).exists():
            while True:
                seals = read_seals(path)
                size = path.stat().st_size
                if any(seal.fits(path, size) for seal in seals):
                    return Inspection(True)
                if read_seals(path) == seals:  # else it was replaced meanwhile
                    return Inspection(True, CHANGED)
        if path.suffix == ".json":
            return _inspect_json(path)
        path.stat()
        return Inspection(False)
    except FileNotFoundError:
        return Inspection(False, "no such file")
    except OSError as error:
        return Inspection(False, f"cannot be read: {error.strerror}")
    except DamagedSealError as error:
        return Inspection(True, str(error))


def _inspect_json(path: Path) -> Inspection:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return Inspection(False, "not valid JSON")
    if not isinstance(values, dict) or KEY not in values:
        return Inspection(False)
    return Inspection(True, None if values[KEY] == json_seal(values) else CHANGED)


def require_intact(path: str | Path, remedy: str = REMEDY) -> None:
    """Raise UserError, which ends with the remedy, unless the file is as it was written or has no seal.

    A large file is read once: not again while its size and time stay the same.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    kept = _kept_seals(path)
    if kept and was_checked(path, kept):
        return
    inspection = inspect(path)
    if inspection.damage is not None:
        raise damaged(path, inspection.damage, remedy)
    if not inspection.sealed:
        note_unsealed(path)
    elif kept:
        record_check(path, kept)


def read_intact(path: str | Path, remedy: str = REMEDY) -> bytes:
    """The content of a file whose seal is beside it. Raises UserError as `require_intact` does, and for no file."""
    path = Path(path)
    try:
        while True:
            seals = read_seals(path)
            data = path.read_bytes()
            if not seals:
                note_unsealed(path)
                return data
            if any(seal.fits_bytes(data) for seal in seals):
                return data
            if read_seals(path) == seals:  # else it was replaced meanwhile
                raise damaged(path, CHANGED, remedy)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except DamagedSealError as error:
        raise damaged(path, str(error), remedy) from None


def require_array_intact(path: str | Path, seal: str | None, remedy: str = REMEDY) -> None:
    """`require_intact` for a .npy file whose seal is in a manifest; None: the manifest has none."""
    path = Path(path)
    if seal is None:
        note_unsealed(path)
    elif not was_checked(path, seal):
        try:
            found = array_seal(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise damaged(path, str(error), remedy) from None
        if found != seal:
            raise damaged(path, CHANGED, remedy)
        record_check(path, seal)


def _kept_seals(path: Path) -> str:
    """The lines of the hidden file beside `path` in one; empty if there are none."""
    try:
        return " ".join(map(str, read_seals(path)))
    except DamagedSealError:
        return ""


def damaged(path: str | Path, damage: str, remedy: str = REMEDY) -> UserError:
    """The error for a damaged file, in one line."""
    return UserError(f"{path}: damaged: {damage}; {remedy}")


# ---------------------------------------------------------------------------------------------------------------------
# Files without seals

_unsealed: dict[str, None] = {}


def note_unsealed(path: str | Path) -> None:
    """Remember that a file without a seal was read."""
    _unsealed[str(path)] = None


def unsealed_note() -> str | None:
    """A line about the files without seals that were read since the last call; None if there were none."""
    paths: Sequence[str] = list(_unsealed)
    _unsealed.clear()
    if not paths:
        return None
    others = f" and {len(paths) - 1} other files" if len(paths) > 2 else f" and {paths[1]}" if len(paths) == 2 else ""
    return f"note: {paths[0]}{others}: written without a seal, so damage to them would not be noticed"


def _digest_of_first(path: str | Path, size: int) -> str:
    """The checksum of the first `size` bytes of a file."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while size > 0 and (chunk := file.read(min(size, READ_BYTES))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()
