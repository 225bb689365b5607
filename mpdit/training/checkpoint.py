"""Checkpoints: one safetensors file each, sealed with a SHA-256 over every byte, so that damage is always noticed."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..experiment.run_files import KEPT_CHECKPOINTS, checkpoint_file, list_checkpoints
from ..system.files import replacing

_SEAL = re.compile(rb'"file_sha256":"([0-9a-f]{64})"')  # in the file's header, where metadata is plain JSON
_UNSEALED = "0" * 64
_LARGEST_HEADER = 100 * 2**20  # bytes; safetensors' own limit


def save_checkpoint(folder: str | Path, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Write the checkpoint of `step`, whole or not at all, and remove all others but the one before it.

    Raises OSError, such as ENOSPC, if it cannot be written; the earlier checkpoints then stay as they were.
    """
    path = Path(folder) / checkpoint_file(step)
    with replacing(path) as part:
        try:
            save_file(dict(tensors), part, metadata={**metadata, "file_sha256": _UNSEALED})
        except SafetensorError as error:  # wraps the operating system's error
            raise system_error(error) from None
        _seal(part)
    checkpoints = list_checkpoints(folder)
    kept = [entry for entry in checkpoints if entry[0] <= step][-KEPT_CHECKPOINTS:]
    for entry in checkpoints:
        if entry not in kept:  # old, or of a later step: a damaged one, which training has resumed from before
            entry[1].unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: str | Path, report: Callable[[str], None]) -> Path | None:
    """Return the newest undamaged checkpoint, or None. Each damaged one is passed to `report` as one line."""
    for _, path in reversed(list_checkpoints(folder)):
        damage = find_damage(path)
        if damage is None:
            return path
        report(f"{path}: damaged checkpoint ({damage}): ignored, trying the one before it")
    return None


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return a checkpoint's metadata: text by name."""
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def find_damage(path: str | Path) -> str | None:
    """Return what is wrong with a checkpoint file, or None. Any changed, missing, or added byte is noticed."""
    try:
        seal, position = _find_seal(path)
        if seal is None:
            return "its SHA-256 is missing"
        if _sha256_unsealed(path, position) != seal:
            return "its content does not match its SHA-256"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _seal(path: Path) -> None:
    _, position = _find_seal(path)
    seal = _sha256_unsealed(path, position)
    with open(path, "rb+") as file:
        file.seek(position)
        file.write(seal.encode())


def _find_seal(path: str | Path) -> tuple[str | None, int]:
    """Return the seal in the file's header, and the position of its first byte in the file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        match = _SEAL.search(file.read(min(length, _LARGEST_HEADER)))
    return (match[1].decode(), 8 + match.start(1)) if match else (None, 0)


def _sha256_unsealed(path: str | Path, position: int) -> str:
    """Return the SHA-256 of the file before its seal, of 64 digits at byte `position`, was written."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(position))
        digest.update(_UNSEALED.encode())
        file.seek(len(_UNSEALED), os.SEEK_CUR)
        while chunk := file.read(2**22):
            digest.update(chunk)
    return digest.hexdigest()


def system_error(error: Exception) -> Exception:
    """Return the OSError that a SafetensorError wraps, such as "File too large (os error 27)"; other errors as is."""
    match = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, SafetensorError) else None
    return OSError(int(match[1]), os.strerror(int(match[1]))) if match else error
