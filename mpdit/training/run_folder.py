"""The folder of one run: what training reads there when it starts, writes on the way, and leaves at the end."""

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..experiment.records import TrainedRun
from ..experiment.run_files import (
    CHECKPOINTS,
    MODEL_WEIGHTS,
    OUTCOME,
    SNAPSHOTS,
    SPEC,
    TRAINED,
    TRAINING_TABLE,
)
from ..experiment.run_spec import RunSpec
from ..experiment.snapshot_files import find_damage, list_snapshots, snapshot_at
from ..experiment.study_file import study_hash
from ..system.console import duration
from ..system.device import device_name, peak_memory
from ..system.errors import UserError
from ..system.files import read_json, write_json
from ..system.interruption import STATUS
from ..system.provenance import commit, versions
from .checkpoint import newest_checkpoint, save_checkpoint
from .resume import CheckpointMetadata, identity, require_same_run
from .saved_model import save_model
from .sealed_tensors import system_error
from .snapshots import save_snapshot
from .trainer import Trainer
from .training_log import RunLog, TrainingRow, TrainingTable

FAILED = 1  # exit status: a required file could not be written
# Seconds between checkpoints, unless a number of steps is set; between the two bounds, saving takes SHARE of the time.
SHORTEST, LONGEST, SHARE = 10.0, 900.0, 0.01


class RunFolder:
    """The files of a run in training, whose state is in `trainer`. Only the first rank writes.

    `latents` is the fingerprint of the latents. Methods that end the training return the exit status.
    """

    table: TrainingTable  # on the first rank, once the run has been resumed

    def __init__(self, folder: Path, trainer: Trainer, latents: str, log: RunLog):
        self.folder, self.trainer, self.latents, self.run_log = folder, trainer, latents, log
        self.spec, self.steps, self.is_first = trainer.spec, trainer.training.steps, trainer.ranks.is_first
        self.saved = self.logged = 0  # steps of the last checkpoint and of the last row in training.csv
        self.stored: list[int] = []  # steps at which EMAs were stored
        self.seconds_before = 0.0  # of training in earlier processes
        self.save_seconds = 0.0  # that the last checkpoint took

    # --- Starting ---

    def resume(self) -> None:
        """Resume from the newest undamaged checkpoint, if there is one.

        Raises UserError if it is not of this run, and where the run was trained to its end before and no checkpoint is
        left: such a run is never trained from the start again.
        """
        path, checkpoint = None, None
        if self.is_first:
            remove_partial_files(self.folder)
            path = newest_checkpoint(self.folder / CHECKPOINTS, self.run_log.report)
            if path is not None:
                require_same_run(path, CheckpointMetadata.read(path), self.spec, self.latents)
            elif any((self.folder / name).exists() for name in (OUTCOME, TRAINED, MODEL_WEIGHTS)):
                raise UserError(
                    f"{self.folder}: was trained to its end before, but has no checkpoint from which it could continue "
                    f"to step {self.steps}; ask for as many steps as it has, or delete the folder to train it anew"
                )
        path = self.trainer.ranks.from_first(path)
        if path is not None:
            checkpoint = CheckpointMetadata.read(path)
            self.trainer.load_state_dict(checkpoint.step, load_file(path))
            self.saved, self.logged = checkpoint.step, checkpoint.logged
            self.seconds_before = checkpoint.seconds
            self.stored = self._stored_before(checkpoint)
        if self.is_first:
            write_spec(self.folder / SPEC, self.spec)
            if self.trainer.step < self.steps:
                (self.folder / TRAINED).unlink(missing_ok=True)  # from when the run had fewer steps
            rows = checkpoint.table if checkpoint else None
            self.table = TrainingTable(self.folder / TRAINING_TABLE, self.logged, rows)
            self._report_start()
        self.started = self.log_time = self.save_time = time.monotonic()
        self.log_step = self.trainer.step

    def _stored_before(self, checkpoint: CheckpointMetadata) -> list[int]:
        """Return the steps at which EMAs were stored up to a checkpoint."""
        if checkpoint.snapshots is not None:
            return list(checkpoint.snapshots)
        there = list_snapshots(self.folder / SNAPSHOTS)
        return sorted({s.step for s in there if s.width is not None and s.step <= checkpoint.step})

    def _report_start(self) -> None:
        trainer, step = self.trainer, self.trainer.step
        if step > self.steps:
            self.run_log.report(
                f"steps were lowered to {self.steps}, but {step} are done already: the run stays at step {step}"
            )
        elif step == self.steps:
            self.run_log.report(f"all {step} steps are done already")
        else:
            verb = f"continues from step {step} of" if step else "starts:"
            self.run_log.report(
                f"{verb} {self.steps} steps of {trainer.batch_size} images, {trainer.parameter_count()} parameters, "
                f"{self._device()}, latents {'in memory' if trainer.batches.resident else 'read from disk'}"
            )

    def _device(self) -> str:
        """Return the device in words: "cpu", "4 x NVIDIA H100"."""
        ranks = self.trainer.ranks
        return f"{ranks.world} x {device_name(ranks.device)}" if ranks.world > 1 else device_name(ranks.device)

    # --- On the way ---

    def seconds(self) -> float:
        """Return the training time over all processes, without what was lost in kills."""
        return self.seconds_before + time.monotonic() - self.started

    def log(self) -> None:
        """Write a row of training.csv, means since the last row, and a line of progress. Waits for the device."""
        if self.is_first:
            row = self._row()
            self.table.append(row)
            left = duration((self.steps - row.step) * self.trainer.batch_size / row.images_per_second)
            self.run_log.progress(
                f"step {row.step}/{self.steps}  loss {row.means.loss:.4f}  "
                f"{row.images_per_second:.0f} images/s  {left} left"
            )
        self.trainer.loss_sums.reset()
        self.logged = self.log_step = self.trainer.step
        self.log_time = time.monotonic()

    def _row(self) -> TrainingRow:
        trainer = self.trainer
        means, weight_norm = trainer.loss_sums.means(), trainer.weight_norm()
        images = (trainer.step - self.log_step) * trainer.batch_size
        return TrainingRow(
            step=trainer.step,
            means=means,
            lr=self.spec.lr * trainer.rate_factor(),
            weight_norm=weight_norm,
            images_per_second=images / (time.monotonic() - self.log_time) if images else math.nan,
            seconds=self.seconds(),
            memory_mb=peak_memory(trainer.ranks.device) / 1e6,
        )

    def has_diverged(self) -> bool:
        """Whether the run has diverged. Waits for the device."""
        return bool(self.trainer.loss_sums.diverged_at)

    def save_snapshots(self) -> None:
        """Write the EMAs of the current step."""
        if self.is_first:
            for width, tensors in self.trainer.ema.averages.items():
                self._save_snapshot(width, tensors)
            self.stored = sorted({*self.stored, self.trainer.step})

    def _save_snapshot(self, width: float | None, tensors: Mapping[str, Tensor]) -> None:
        dtype, metadata = self.trainer.training.snapshot_dtype, {"run": self.spec.name}
        save_snapshot(self.folder / SNAPSHOTS, self.trainer.step, width, tensors, dtype, metadata)

    def checkpoint_is_due(self, every: int | None) -> bool:
        """Whether to save now: every `every` steps, or, if None, as often as keeps saving at 1 % of the time."""
        if every is not None:
            return self.trainer.step % every == 0
        pause = min(LONGEST, max(SHORTEST, self.save_seconds / SHARE))
        return self.is_first and time.monotonic() - self.save_time >= pause

    def save_checkpoint(self, last: bool = False) -> bool:
        """Save the whole state and return whether the current step is saved. Waits for the device.

        While the loss is exploding the earlier, good checkpoint is kept instead, unless this is the `last` chance. A
        full disk is reported and costs only this checkpoint.
        """
        start = time.monotonic()
        if not self.is_first or self.saved == self.trainer.step:
            return True
        if self.has_diverged() or (self.trainer.loss_sums.high_steps and not last):
            return False
        self.table.sync()
        step = self.trainer.step
        metadata = CheckpointMetadata(
            step,
            self.logged,
            self.seconds(),
            identity(self.spec),
            self.latents,
            self.table.text(),
            tuple(self.stored),
        )
        try:
            save_checkpoint(self.folder / CHECKPOINTS, step, self.trainer.state_dict(), metadata.to_safetensors())
            self.saved = step
        except OSError as error:
            earlier = f"the one of step {self.saved} is kept" if self.saved else "there is no earlier one"
            self.run_log.report(f"checkpoint of step {step} not saved ({describe_error(error)}): {earlier}")
        self.save_time = time.monotonic()
        self.save_seconds = self.save_time - start
        return self.saved == step

    # --- Ending ---

    def stop(self, reason: str) -> int:
        """Save, to resume another time."""
        if self.has_diverged():
            return self.diverge()
        is_saved = self.save_checkpoint(last=True)
        saved = f"step {self.trainer.step} is saved" if is_saved else f"the last checkpoint is of step {self.saved}"
        self.run_log.report(f"stops: {reason}; {saved}")
        return STATUS

    def diverge(self) -> int:
        """Record that the run diverged: a result, not a failure. The last good checkpoint is kept."""
        step = int(self.trainer.loss_sums.diverged_at)
        if self.is_first:
            row = replace(self._row(), step=step, status="diverged")
            self.table.append(row)
            self.table.end("diverged")
            self.run_log.report(f"diverged at step {step}, loss {row.means.loss:.4g}: training ends here")
            self._write_outcome("diverged", step)
        return 0

    def finish(self) -> int:
        """Write the last checkpoint, the last row, the model, outcome.json and trained.json, in this order."""
        if not self.is_first:
            return 0
        if not self.save_checkpoint(last=True):
            self.run_log.report(
                f"stops: the last step could not be saved; run it again to continue from step {self.saved}"
            )
            return FAILED
        if self.logged != self.trainer.step:  # between two log rows: the checkpoint keeps the sums so far
            self.table.append(self._row())
        self.table.end("trained")
        last = [snapshot_at(self.folder / SNAPSHOTS, self.trainer.step, width) for width in self.trainer.ema.averages]
        if any(find_damage(snapshot, self.spec.name) for snapshot in last):  # lost, or `steps` was lowered
            self.save_snapshots()
        self._save_snapshot(None, self.trainer.parameters)
        save_model(self.trainer, self.folder)
        self._write_outcome("trained", self.trainer.step)
        self.run_log.report(
            f"trained: step {self.trainer.step}, loss {self.table.last_loss:.4f}, {duration(self.seconds())} in total"
        )
        return 0

    def _write_outcome(self, status: Literal["trained", "diverged"], step: int) -> None:
        trainer, loss = self.trainer, self.table.last_loss
        outcome = TrainedRun(
            run=self.spec.name,
            status=status,
            step=step,
            steps=self.steps,
            parameters=trainer.parameter_count(),
            images_per_second=round(trainer.step * trainer.batch_size / self.seconds(), 1),
            seconds=round(self.seconds(), 1),
            peak_memory_mb=round(self.table.peak_memory_mb, 1),
            loss=loss if math.isfinite(loss) else None,
            latents=self.latents,
            device=device_name(trainer.ranks.device),
            threads=torch.get_num_threads(),
            commit=commit(),
            versions=versions(),
            study=study_hash(),
            devices=trainer.ranks.world,
            snapshots=tuple(self.stored),
        )
        for name in (OUTCOME, TRAINED):
            write_json(self.folder / name, outcome.to_json())


def write_spec(path: Path, spec: RunSpec) -> None:
    """Write spec.json, unless the file holds the spec already: it may be the one that the run was started with."""
    if not path.exists() or read_json(path) != spec.to_json():
        write_json(path, spec.to_json(), sealed=False)  # as the workflow writes it: its name is its seal


def remove_partial_files(folder: Path) -> None:
    """Remove files that killed processes have left half-written. Only safe under the run's lock."""
    for path in (*folder.glob("*/.step-*.part.safetensors"), *folder.glob(".train*.part.*")):
        path.unlink(missing_ok=True)
    for path in folder.glob(".model-*"):
        shutil.rmtree(path, ignore_errors=True)


def describe_error(error: Exception) -> str:
    """Return the operating system's words for an error, such as "No space left on device", or else its own."""
    return getattr(system_error(error), "strerror", None) or str(error)
