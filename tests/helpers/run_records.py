"""The records of a small run, as the workflow and `mpdit train` write them."""

from dataclasses import replace
from typing import Any

from mpdit.experiment.ladder import resolve
from mpdit.experiment.records import TrainedRun
from mpdit.experiment.run_spec import DataIdentity, RunSpec
from mpdit.experiment.schema import Training

TRAINING = Training(
    steps=12,
    batch_size=8,
    warmup_steps=3,
    decay_start=6,
    precision="float32",
    ema_widths=(0.05, 0.1),
    snapshots=3,
    snapshot_dtype="float32",
)


def small_run(config: str = "E", modulation: str = "scale_shift", data: str = "random", **changes: Any) -> RunSpec:
    """A DiT-Nano/2 on 8x8 images; `changes` replace fields of the RunSpec."""
    identity = DataIdentity(data, 8, None, "none")
    run = RunSpec("DiT-Nano/2", config, modulation, 0.01, 0, identity, TRAINING, resolve(config))
    return replace(run, **changes)


def trained_run(run: RunSpec, latents: str, **changes: Any) -> TrainedRun:
    """The trained.json of `run`, which has ended on latents of this fingerprint; `changes` replace its fields."""
    record = TrainedRun(
        run=run.name,
        status="trained",
        step=run.training.steps,
        steps=run.training.steps,
        parameters=214272,
        images_per_second=640.0,
        seconds=20.5,
        peak_memory_mb=500.1,
        loss=0.5,
        latents=latents,
        device="cpu",
        threads=1,
        commit="c0ffee",
    )
    return replace(record, **changes)
