"""Checkpoints: one safetensors file each, sealed with a checksum over every byte, so that damage is always noticed."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ..experiment.run_files import KEPT_CHECKPOINTS, checkpoint_file, list_checkpoints
from ..system import safetensors_seal
from ..system.files import replacing
from .sealed_tensors import save_sealed


def save_checkpoint(folder: str | Path, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Write the checkpoint of `step`, whole or not at all, and remove all others but the one before it.

    Raises OSError, such as ENOSPC, if it cannot be written; the earlier checkpoints then stay as they were.
    """
    path = Path(folder) / checkpoint_file(step)
    with replacing(path, sealed=False) as part:
        save_sealed(tensors, part, metadata)
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


def find_damage(path: str | Path) -> str | None:
    """Return what is wrong with a checkpoint file, or None. Any changed, missing, or added byte is noticed."""
    try:
        sealed, damage = safetensors_seal.inspect(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return damage if sealed else "its seal is missing"
