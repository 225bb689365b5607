"""The snapshots that a trained run has stored: which there must be, and what to do about one that is gone or damaged.

One that a checkpoint still holds is written again, with the same weights. Any other is an error that says what is left:
it is never replaced by an approximation, and never left out of one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from ..experiment.records import TrainedRun
from ..experiment.remedies import remedy
from ..experiment.run_files import CHECKPOINTS, SNAPSHOTS, list_checkpoints
from ..experiment.run_spec import RunSpec
from ..experiment.snapshot_files import Snapshot, find_damage, list_snapshots, stored_snapshots
from ..system.errors import UserError
from .checkpoint import find_damage as find_damage_of_checkpoint
from .resume import CheckpointMetadata
from .snapshots import reconstruct, save_snapshot


class KeptSnapshots:
    """The snapshots of the run `run` in `run_folder`, whose training has ended as `trained` says."""

    def __init__(self, run_folder: Path, run: RunSpec, trained: TrainedRun, report: Callable[[str], None] = print):
        self.run_folder, self.run, self.report = run_folder, run, report
        self.folder = run_folder / SNAPSHOTS
        self.snapshots = stored_snapshots(run_folder, run, trained)

    def steps(self, width: float) -> list[int]:
        """Return the steps at which averages of this width were stored, in order."""
        return [snapshot.step for snapshot in self.snapshots if snapshot.width == width]

    def weights(self, width: float | None, step: int) -> tuple[dict[str, Tensor], float]:
        """Return the average of this width (None: plain weights) after `step` steps, and its residual.

        See `snapshots.reconstruct`. Snapshots that are gone or damaged are written again where a checkpoint holds them.
        """
        return reconstruct(self.folder, width, step, self.snapshots, self._require)

    def _require(self, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            damage = find_damage(snapshot, self.run.name)
            if damage is not None and not self._restore(snapshot, damage):
                left = self._what_is_left(snapshot)
                raise UserError(f"{snapshot.path}: {damage}, and no checkpoint holds it; {left}")

    def _restore(self, snapshot: Snapshot, damage: str) -> bool:
        """Write a snapshot again from the checkpoint of its step; False if there is none."""
        for step, path in list_checkpoints(self.run_folder / CHECKPOINTS):
            if step == snapshot.step and find_damage_of_checkpoint(path) is None:
                if CheckpointMetadata.read(path).spec.get("run") != self.run.name:
                    return False
                prefix = "model/" if snapshot.width is None else f"ema/{snapshot.width}/"
                with safe_open(path, framework="pt") as checkpoint:
                    names = [name for name in checkpoint.keys() if name.startswith(prefix)]  # noqa: SIM118
                    tensors = {name.removeprefix(prefix): checkpoint.get_tensor(name) for name in names}
                if not tensors:
                    return False
                dtype, metadata = self.run.training.snapshot_dtype, {"run": self.run.name}
                with suppress(OSError):  # a full disk, or a folder that cannot be written
                    save_snapshot(self.folder, step, snapshot.width, tensors, dtype, metadata)
                    self.report(f"{snapshot.path}: {damage}: written again from {path}")
                    return True
        return False

    def _what_is_left(self, lost: Snapshot) -> str:
        there = [snapshot for snapshot in list_snapshots(self.folder) if snapshot.path != lost.path]
        widths = [_name(snapshot.width) for snapshot in there if snapshot.step == lost.step]
        steps = [str(snapshot.step) for snapshot in there if snapshot.width == lost.width]
        left = f"left are {' and '.join(widths) or 'no other weights'} at this step"
        if steps:
            left += f", {_name(lost.width)} at {len(steps)} other steps (the last is {steps[-1]})"
        return f"{remedy(lost.path)}; {left}"


def _name(width: float | None) -> str:
    return "plain weights" if width is None else f"width {width:g}"
