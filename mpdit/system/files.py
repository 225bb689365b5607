"""Files that appear complete or not at all: written under another name, flushed to disk, then moved into place."""

import csv
import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UserError, in_one_line
from .seals import (
    CHANGED,
    KEY,
    REMEDY,
    DamagedSealError,
    Seal,
    damaged,
    json_seal,
    note_unsealed,
    read_seals,
    seal_file,
    seal_text,
)


@contextmanager
def replacing(path: str | Path, *, sealed: bool = True, grows: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, in the folder of `path`, which is created if it is missing.

    On success the file is flushed to disk, sealed (see `seals`) and moved onto `path`; on failure it is removed. What
    killed processes have left of earlier attempts at `path` is removed first. An OSError of the temporary path, or of
    none, names `path` instead.

    Args:
        sealed: write a seal beside the file. Without, the file holds one itself.
        grows: seal what is written now, and accept what is appended later.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    # Writers such as np.save and matplotlib go by the suffix, so it stays the last part of the name.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with _naming(path, part):
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells others that this is no leftover
            yield part
            _sync_file(part)
            if sealed:
                _move_sealed(part, path, grows)
            else:
                os.replace(part, path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        finally:
            os.close(descriptor)


@contextmanager
def _naming(path: Path, part: Path) -> Iterator[None]:
    """Within this context, an OSError of the temporary file, of its seal's, or of no file, is one of `path`."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(part), str(_seal_part(path))):
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


def _move_sealed(part: Path, path: Path, grows: bool) -> None:
    """Move a file into place with its seal. Killed at any moment, what is there agrees with the seal beside it."""
    new = Seal.of_file(part, grows)
    try:
        old = (read_seals(path) or (Seal.of_file(path),)) if path.exists() else ()
    except (OSError, DamagedSealError):  # the earlier file or its seal cannot be read
        old = ()
    write_seals(path, (*old, new))
    os.replace(part, path)
    if old:
        write_seals(path, (new,))


def write_seals(path: Path, seals: Iterable[Seal]) -> None:
    """Replace the seals beside `path`, atomically."""
    target = seal_file(path)
    part = _seal_part(path)
    try:
        part.write_text(seal_text(seals), encoding="utf-8")
        _sync_file(part)
        os.replace(part, target)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def _seal_part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part.seal")


def _remove_leftovers(path: Path) -> None:
    """Remove half-written files of killed processes that were to become `path`, or its seal; they may be large."""
    patterns = (
        re.compile(rf"\.{re.escape(path.stem)}\.\d+\.part{re.escape(path.suffix)}"),
        re.compile(rf"\.{re.escape(path.name)}\.\d+\.part\.seal"),
    )
    with os.scandir(path.parent) as entries:
        leftovers = [entry.path for entry in entries if any(pattern.fullmatch(entry.name) for pattern in patterns)]
    for leftover in leftovers:
        with suppress(OSError), open(leftover, "rb+") as file:  # one that is being written is locked
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(leftover)


def _sync_file(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: str | Path) -> None:
    """Flush the entries of a folder to disk, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Replace the content of `path` with `text`, atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Mapping[str, Any], *, sealed: bool = True) -> None:
    """Replace the content of `path` with `value` as indented JSON, atomically; a last key `seal` seals all others."""
    content = {**value, KEY: json_seal(dict(value))} if sealed else value
    with replacing(path, sealed=False) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | Path, remedy: str | None = None) -> Any:
    """The parsed JSON of `path`, without its seal.

    Raises UserError if the file cannot be read, is not JSON, or is not what its seal says. `remedy` says what to do
    then, for a file that `write_json` wrote: if it has no seal, that is noted.
    """
    ending = "" if remedy is None else f"; {remedy}"
    try:
        value = parse_json(Path(path).read_text(encoding="utf-8"), str(path), ending)
    except OSError as error:
        raise UserError(in_one_line(error, path)) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not valid JSON (no UTF-8 text){ending}") from None
    if not isinstance(value, dict) or KEY not in value:
        if remedy is not None:
            note_unsealed(path)
        return value
    if value[KEY] != json_seal(value):
        raise damaged(path, CHANGED, REMEDY if remedy is None else remedy)
    return {key: item for key, item in value.items() if key != KEY}


def parse_json(text: str, source: str, ending: str = "") -> Any:
    """The value of JSON text. Raises UserError if it is not JSON: one line with `source` before and `ending` behind."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a whole number of thousands of digits
        raise UserError(f"{source}: not valid JSON ({error}){ending}") from None


def file_hash(path: str | Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def write_csv(
    path: str | Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]], *, grows: bool = False
) -> None:
    """Write `rows` under a header of `columns`, atomically. `grows` is that of `replacing`.

    Columns that a row does not have stay empty; a key that is no column raises ValueError.
    """
    with replacing(path, grows=grows) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
