"""The folder of one run: what training reads there when it starts, writes on the way, and leaves in the end."""

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file

from ..system.console import duration
from ..system.device import device_name, peak_memory
from ..system.errors import UserError
from ..system.files import read_json, replacing, write_json
from ..system.interruption import STATUS
from ..system.provenance import commit, versions
from . import checkpoint
from .distributed import Ranks
from .ema import list_snapshots, save_snapshot
from .trainer import Trainer
from .training_log import Reporter, TrainingTable

FAILED = 1  # exit status where something could not be written that has to be
# Seconds between checkpoints where no number of steps is given: saving takes 1 % of the time.
SHORTEST, LONGEST, SHARE = 10.0, 900.0, 0.01


class Run:
    """A trainer and the folder it writes to. On all ranks but the first nothing is written."""

    def __init__(self, folder: Path, trainer: Trainer, latents: str, reporter: Reporter):
        self.folder, self.trainer, self.latents, self.reporter = folder, trainer, latents, reporter
        self.spec, self.steps, self.first = trainer.spec, trainer.training["steps"], trainer.ranks.first
        self.saved = self.logged = 0  # steps of the last checkpoint and of the last row in training.csv
        self.seconds_before = 0.0  # of training, in earlier processes
        self.save_cost = 0.0  # seconds of the last save
        self.table: TrainingTable | None = None

    # Starting

    def resume(self) -> None:
        """Go on from the newest undamaged checkpoint, if there is one. UserError if it is not of this run."""
        path = None
        if self.first:
            remove_remains(self.folder)
            path = checkpoint.newest(self.folder / "checkpoints", self.reporter.say)
            if path is not None:
                self._refuse_foreign(path)
        path = self.trainer.ranks.from_first(path)
        if path is not None:
            metadata = checkpoint.read_metadata(path)
            self.trainer.load_state_dict(int(metadata["step"]), load_file(path))
            self.saved, self.logged = self.trainer.step, int(metadata["logged"])
            self.seconds_before = float(metadata["seconds"])
        if self.first:
            write_spec(self.folder / "spec.json", self.spec)
            if self.trainer.step < self.steps:
                (self.folder / "trained.json").unlink(missing_ok=True)  # of the run when it had fewer steps
            self.table = TrainingTable(self.folder / "training.csv", self.logged)
            self._say_start()
        self.started = self.log_time = self.save_time = time.monotonic()
        self.log_step = self.trainer.step

    def _refuse_foreign(self, path: Path) -> None:
        metadata = checkpoint.read_metadata(path)
        before, now = _flat(json.loads(metadata["spec"])), _flat(identity(self.spec))
        for field in sorted(before.keys() | now.keys(), key=lambda field: (field == "run", field)):
            if before.get(field) != now.get(field):
                raise UserError(
                    f"{path}: {field} is {before.get(field)!r} in this checkpoint: must be as in the spec, "
                    f"{now.get(field)!r}; a changed run needs a folder of its own"
                )
        if metadata["latents"] != self.latents:
            raise UserError(
                f"{path}: trained on latents {metadata['latents'][:12]}: must be those given, {self.latents[:12]}; "
                f"changed latents need a run folder of their own"
            )

    def _say_start(self) -> None:
        trainer, step = self.trainer, self.trainer.step
        if step > self.steps:
            self.reporter.say(
                f"steps were lowered to {self.steps}, but {step} are done: none is undone, the run stays at step {step}"
            )
        elif step == self.steps:
            self.reporter.say(f"all {step} steps were done before")
        else:
            verb = f"continues from step {step} of" if step else "starts:"
            self.reporter.say(
                f"{verb} {self.steps} steps of {trainer.batch_size} images, {parameter_count(trainer)} parameters, "
                f"{devices_of(trainer.ranks)}, latents {'resident' if trainer.batches.resident else 'read from disk'}"
            )

    # On the way

    def seconds(self) -> float:
        """Of training in all, whatever was lost in kills left out."""
        return self.seconds_before + time.monotonic() - self.started

    def log(self) -> None:
        """A row of training.csv and a line of progress: means since the last one. Waits for the device."""
        if self.first:
            row = self._row()
            self.table.append(row)
            left = duration((self.steps - row["step"]) * self.trainer.batch_size / row["images_per_second"])
            self.reporter.progress(
                f"step {row['step']}/{self.steps}  loss {row['loss']:.4f}  "
                f"{row['images_per_second']:.0f} images/s  {left} left"
            )
        self.trainer.tally.reset()
        self.logged = self.log_step = self.trainer.step
        self.log_time = time.monotonic()

    def _row(self) -> dict:
        trainer = self.trainer
        means, weight_norm = trainer.tally.means(), trainer.weight_norm()
        images = (trainer.step - self.log_step) * trainer.batch_size
        return {
            "step": trainer.step,
            **means,
            "lr": self.spec["lr"] * trainer.rate_factor(),
            "weight_norm": weight_norm,
            "images_per_second": images / (time.monotonic() - self.log_time) if images else math.nan,
            "seconds": self.seconds(),
            "memory_mb": peak_memory(trainer.ranks.device) / 1e6,
            "status": "training",
        }

    def has_diverged(self) -> bool:
        return bool(self.trainer.tally.bad_step)

    def save_snapshots(self) -> None:
        """The EMAs of this step."""
        if self.first:
            for width, tensors in self.trainer.ema.averages.items():
                self._save_snapshot(width, tensors)

    def _save_snapshot(self, width: float | None, tensors: Mapping) -> None:
        dtype, metadata = self.trainer.training["snapshot_dtype"], {"run": self.spec["run"]}
        save_snapshot(self.folder / "snapshots", self.trainer.step, width, tensors, dtype, metadata)

    def checkpoint_is_due(self, every: int | None) -> bool:
        if every is not None:
            return self.trainer.step % every == 0
        pause = min(LONGEST, max(SHORTEST, self.save_cost / SHARE))
        return self.first and time.monotonic() - self.save_time >= pause

    def save_checkpoint(self, last: bool = False) -> bool:
        """Save all state; while the loss is exploding, keep the good one instead, unless this is the `last` chance.

        A full disk is reported and costs this checkpoint alone. Returns whether the step is saved. Waits for the
        device.
        """
        start = time.monotonic()
        if not self.first or self.saved == self.trainer.step:
            return True
        if self.has_diverged() or (self.trainer.tally.high_steps and not last):
            return False
        self.table.sync()
        metadata = {
            "step": str(self.trainer.step),
            "logged": str(self.logged),
            "seconds": repr(self.seconds()),
            "spec": json.dumps(identity(self.spec), sort_keys=True),
            "latents": self.latents,
        }
        try:
            checkpoint.save(self.folder / "checkpoints", self.trainer.step, self.trainer.state_dict(), metadata)
            self.saved = self.trainer.step
        except OSError as error:
            last = f"the one of step {self.saved} stays" if self.saved else "there is none yet"
            self.reporter.say(f"checkpoint of step {self.trainer.step} not saved ({reason_of(error)}): {last}")
        self.save_time = time.monotonic()
        self.save_cost = self.save_time - start
        return self.saved == self.trainer.step

    # Ending

    def stop(self, why: str) -> int:
        """Save and leave, to go on another time."""
        if self.has_diverged():
            return self.diverge()
        saved = self.save_checkpoint(last=True)
        where = f"step {self.trainer.step} is saved" if saved else f"the last checkpoint is of step {self.saved}"
        self.reporter.say(f"stops: {why}; {where}")
        return STATUS

    def diverge(self) -> int:
        """A result, not a failure: the last good checkpoint stays, the table and trained.json say when it was."""
        step = int(self.trainer.tally.bad_step)
        if self.first:
            row = {**self._row(), "step": step}
            self.table.append({**row, "status": "diverged"})
            self.reporter.say(f"diverged at step {step}, loss {row['loss']:.4g}: training ends here")
            self._write_outcome("diverged", step)
        return 0

    def finish(self) -> int:
        """The last checkpoint, the last row, the model to use, and trained.json, in this order."""
        if not self.first:
            return 0
        if not self.save_checkpoint(last=True):
            self.reporter.say(
                f"stops: the last step could not be saved; next time training goes on from step {self.saved}"
            )
            return FAILED
        if self.logged != self.trainer.step:  # off the grid of logs: what is summed stays in the checkpoint
            self.table.append(self._row())
        self.table.end("trained")
        if self.trainer.step not in [snapshot.step for snapshot in list_snapshots(self.folder / "snapshots")]:
            self.save_snapshots()  # steps were lowered below what was done
        self._save_snapshot(None, self.trainer.parameters)
        save_model(self.trainer, self.folder)
        self._write_outcome("trained", self.trainer.step)
        loss = float(self.table.rows[-1]["loss"])
        self.reporter.say(f"trained: step {self.trainer.step}, loss {loss:.4f}, {duration(self.seconds())} in all")
        return 0

    def _write_outcome(self, status: str, step: int) -> None:
        loss = float(self.table.rows[-1]["loss"])
        outcome = {
            "run": self.spec["run"],
            "status": status,
            "step": step,
            "steps": self.steps,
            "parameters": parameter_count(self.trainer),
            "images_per_second": round(self.trainer.step * self.trainer.batch_size / self.seconds(), 1),
            "seconds": round(self.seconds(), 1),
            "peak_memory_mb": round(max(float(row["memory_mb"]) for row in self.table.rows), 1),
            "loss": loss if math.isfinite(loss) else None,
            "latents": self.latents,
            "device": devices_of(self.trainer.ranks),
            "threads": torch.get_num_threads(),
            "commit": commit(),
            "versions": versions(),
        }
        write_json(self.folder / "trained.json", outcome)


def identity(spec: Mapping) -> dict:
    """The spec but for `steps`: what a run is, however long it is trained."""
    return {**spec, "training": {key: value for key, value in spec["training"].items() if key != "steps"}}


def _flat(mapping: Mapping, prefix: str = "") -> dict:
    """Nested mappings as one, under dotted names."""
    flat = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def write_spec(path: Path, spec: Mapping) -> None:
    if not path.exists() or read_json(path) != spec:  # untouched where it is the very file that was given
        write_json(path, spec)


def remove_remains(folder: Path) -> None:
    """Remove what killed processes left half written. Only under the lock."""
    for path in (*folder.glob("*/.step-*.part.safetensors"), *folder.glob(".train*.part.*")):
        path.unlink(missing_ok=True)
    for path in folder.glob(".model-*"):
        shutil.rmtree(path, ignore_errors=True)


@torch.no_grad()
def save_model(trainer: Trainer, folder: Path) -> None:
    """config.json and model.safetensors: the EMA of the first width, for `DiT.from_pretrained`. Ends the training."""
    averages = trainer.ema.averages[trainer.training["ema_widths"][0]]
    for name, parameter in trainer.parameters.items():
        parameter.copy_(averages[name])
    trainer.model.normalize_weights()
    with TemporaryDirectory(prefix=".model-", dir=folder) as whole:
        trainer.model.save_pretrained(whole)
        for name in ("model.safetensors", "config.json"):
            with replacing(folder / name) as part:
                shutil.move(Path(whole) / name, part)


def parameter_count(trainer: Trainer) -> int:
    return sum(parameter.numel() for parameter in trainer.parameters.values())


def devices_of(ranks: Ranks) -> str:
    name = device_name(ranks.device)
    return name if ranks.world == 1 else f"{ranks.world} x {name}"


def reason_of(error: Exception) -> str:
    return getattr(checkpoint.system_error(error), "strerror", None) or str(error)
