"""Train one run: the loop over steps, and what stops it."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
from safetensors import SafetensorError

from ..data.latents import Latents
from ..experiment.run_files import LOCK, TRAIN_LOG
from ..experiment.run_spec import RunSpec
from ..experiment.schedule import snapshot_steps
from ..system.interruption import Interruption
from ..system.lock import WAIT, exclusive
from .distributed import join
from .run_folder import FAILED, RunFolder, describe_error
from .trainer import Trainer
from .training_log import RunLog


def train(
    spec: RunSpec,
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
    """Train the run `spec`, or resume it, until its `steps` are done; `output` is trained.json in the run's folder.

    Args:
        device: "auto", "cpu", or "cuda".
        log_every: steps between rows of training.csv.
        checkpoint_every: steps between checkpoints; None: as often as keeps saving at 1 % of the time.
        compile: use torch.compile; None for on CUDA only.
        ancestors: processes whose death stops the training, such as Snakemake's.
        lock_wait: seconds to wait for another process that holds the folder.

    Returns the exit status: 0 (trained, or diverged, which trained.json records), interruption.STATUS (stopped by a
    signal or by the death of an ancestor, with everything saved), FAILED (a required file could not be written). Raises
    UserError when another process holds the folder, or when its checkpoint is of another spec or of other latents.
    """
    latents = Latents(latents_folder)
    ranks = join(device)
    folder = Path(output).parent
    with ExitStack() as stack:
        log = RunLog(spec.name, folder / TRAIN_LOG, redraw=not ancestors, silent=not ranks.is_first)
        if ranks.is_first:
            stack.enter_context(exclusive(folder / LOCK, lock_wait, log.report))
        interruption = stack.enter_context(Interruption(ancestors if ranks.is_first else ()))
        trainer = Trainer(spec, latents, ranks, ranks.device.type == "cuda" if compile is None else compile)
        run = RunFolder(folder, trainer, latents.fingerprint, log)
        try:
            run.resume()
            status = _loop(run, interruption, log_every, checkpoint_every)
        except (OSError, SafetensorError) as error:
            log.report(f"stops: {describe_error(error)}; run it again to continue from the last checkpoint")
            return FAILED
        if status != FAILED:
            ranks.leave()
    return status


def _loop(run: RunFolder, interruption: Interruption, log_every: int, checkpoint_every: int | None) -> int:
    """Take step after step. What all ranks do together depends only on the step; only the first reads the clock."""
    trainer = run.trainer
    snapshots = set(snapshot_steps(run.steps, trainer.training.snapshots))
    while trainer.step < run.steps:
        reason = interruption.reason()
        if trainer.ranks.any(reason is not None, trainer.step):
            return run.stop(reason or "another process of this run was asked to stop")
        trainer.advance()
        log_now, snapshot_now = trainer.step % log_every == 0, trainer.step in snapshots
        if (log_now or snapshot_now) and run.has_diverged():  # always asked at the last step, which has a snapshot
            return run.diverge()
        if snapshot_now:
            run.save_snapshots()
        if log_now:
            run.log()
        if trainer.step < run.steps and run.checkpoint_is_due(checkpoint_every):
            run.save_checkpoint()
    return run.finish()
