"""Train one run: the loop, and what makes it stop."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
from safetensors import SafetensorError

from ..data.latents import Latents
from ..experiment.schedule import snapshot_steps
from ..system.interruption import Interruption
from ..system.lock import WAIT, exclusive
from .distributed import join
from .run_folder import FAILED, Run, reason_of
from .trainer import Trainer
from .training_log import Reporter


def train(
    spec: Mapping,
    latents_folder: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    log_every: int = 50,
    checkpoint_every: int | None = None,
    compile: bool | None = None,
    ancestors: Sequence[psutil.Process] = (),
    lock_wait: float = WAIT,
) -> int:
    """Train the run `spec`, or go on with it, until its `steps` are done; `output` is the trained.json of its folder.

    Returns the exit status: 0 (trained, or diverged, as trained.json says), interruption.STATUS (stopped by a signal or
    because one of `ancestors` died; all is saved), FAILED (the disk is full). UserError when another process holds the
    folder, or its checkpoint is of another spec or of other latents.
    """
    latents = Latents(latents_folder)
    ranks = join(device)
    folder = Path(output).parent
    with ExitStack() as stack:
        reporter = Reporter(spec["run"], folder / "train.log", redraw=not ancestors, silent=not ranks.first)
        if ranks.first:
            stack.enter_context(exclusive(folder / "lock", lock_wait, reporter.say))
        interruption = stack.enter_context(Interruption(ancestors if ranks.first else ()))
        trainer = Trainer(spec, latents, ranks, ranks.device.type == "cuda" if compile is None else compile)
        run = Run(folder, trainer, latents.fingerprint, reporter)
        try:
            run.resume()
            status = _loop(run, interruption, log_every, checkpoint_every)
        except (OSError, SafetensorError) as error:
            reporter.say(f"stops: {reason_of(error)}; what is saved stays, and training goes on from there next time")
            return FAILED
        if status != FAILED:
            ranks.leave()
    return status


def _loop(run: Run, interruption: Interruption, log_every: int, checkpoint_every: int | None) -> int:
    """Step after step. What all ranks do alike depends on the step alone; only the first one looks at the clock."""
    trainer = run.trainer
    snapshots = set(snapshot_steps(run.steps, trainer.training["snapshots"]))
    while trainer.step < run.steps:
        stop = interruption.reason()
        if trainer.ranks.any(stop is not None, trainer.step):
            return run.stop(stop or "another rank was told to stop")
        trainer.advance()
        at_log, at_snapshot = trainer.step % log_every == 0, trainer.step in snapshots
        if (at_log or at_snapshot) and run.has_diverged():  # the last step has a snapshot
            return run.diverge()
        if at_snapshot:
            run.save_snapshots()
        if at_log:
            run.log()
        if trainer.step < run.steps and run.checkpoint_is_due(checkpoint_every):
            run.save_checkpoint()
    return run.finish()
