"""The files of a run's snapshots: how they are named, which there must be, and whether one is what its name says.

Torch-free; `training.snapshots` writes and reads them.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ..system import safetensors_seal, seals
from . import run_files
from .records import TrainedRun
from .run_spec import RunSpec

SNAPSHOT_NAME = re.compile(r"step-([0-9]{8,})-(?:width-([0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?)|plain)")


class Snapshot(NamedTuple):
    """A stored model after `step` steps: an average of relative width `width`, or the plain weights (None)."""

    step: int
    width: float | None
    path: Path

    @property
    def metadata(self) -> dict[str, str]:
        """What the file's metadata say of the model."""
        return {"step": str(self.step), "width": "plain" if self.width is None else repr(float(self.width))}


def snapshot_at(folder: str | Path, step: int, width: float | None) -> Snapshot:
    """The snapshot of this step and width, whether or not its file is there."""
    return Snapshot(step, width, Path(folder) / f"step-{step:08d}-{_file_label(width)}.safetensors")


def list_snapshots(folder: str | Path) -> list[Snapshot]:
    """A folder's snapshots by step and width, plain weights last at their step; [] for a missing folder."""
    snapshots = []
    for path in Path(folder).glob("step-*.safetensors"):
        if match := SNAPSHOT_NAME.fullmatch(path.stem):
            snapshots.append(Snapshot(int(match[1]), float(match[2]) if match[2] else None, path))
    return sorted(snapshots, key=_order)


def stored_snapshots(run_folder: Path, run: RunSpec, trained: TrainedRun) -> list[Snapshot]:
    """The snapshots that a run has stored, by step and width, whether or not they are still there.

    Runs of version 0.1 have not recorded the steps: there the widths of a step vouch for one another.
    """
    folder = run_folder / run_files.SNAPSHOTS
    there = list_snapshots(folder)
    steps = trained.snapshots or tuple(dict.fromkeys(s.step for s in there if s.width is not None))
    averages = [snapshot_at(folder, step, width) for step in steps for width in run.training.ema_widths]
    plain = [snapshot_at(folder, trained.step, None)] if steps and trained.status == "trained" else []
    return sorted(dict.fromkeys([*there, *averages, *plain]), key=_order)


def find_damage(snapshot: Snapshot, run: str | None = None) -> str | None:
    """What is wrong with a snapshot's file, in words, or None.

    That is a changed byte, or another model than the file's name says. `run` is the run whose model it must be, where
    that is known. Files of version 0.1 have no seal, which is noted.
    """
    inspection = seals.inspect(snapshot.path)
    if inspection.damage is not None:
        return inspection.damage
    if not inspection.sealed:
        seals.note_unsealed(snapshot.path)
    return other_model(snapshot, run)


def other_model(snapshot: Snapshot, run: str | None = None) -> str | None:
    """How a snapshot's metadata contradict its name or the run, in words, or None. The rest of the file is not read."""
    metadata = safetensors_seal.read_metadata(snapshot.path)
    for field, value in (snapshot.metadata | ({} if run is None else {"run": run})).items():
        if metadata.get(field, value) != value:
            return f"holds the model of {field} {metadata[field]}, must be of {field} {value}"
    return None


def _file_label(width: float | None) -> str:
    if width is None:
        return "plain"
    short = f"{width:.3f}"
    return f"width-{short if float(short) == width else repr(float(width))}"


def _order(snapshot: Snapshot) -> tuple[int, bool, float]:
    return snapshot.step, snapshot.width is None, snapshot.width or 0.0
