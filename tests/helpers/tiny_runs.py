"""A run small enough to be trained hundreds of times in tests: 4x4 random latents of three classes, DiT-Nano/2."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mpdit.experiment.ladder import resolve
from mpdit.experiment.records import Manifest, SourceRecord, TrainedRun
from mpdit.experiment.run_spec import DataIdentity, RunSpec
from mpdit.experiment.schema import Training
from mpdit.training.loop import train
from mpdit.training.trainer import Trainer
from mpdit.training.training_log import COLUMNS

ROOT = Path(__file__).parents[2]
DETERMINISTIC = COLUMNS[: COLUMNS.index("images_per_second")]  # on the CPU; the other columns measure the machine


def write_latents(
    folder: Path,
    count: int = 50,
    shape: tuple[int, int, int] = (2, 4, 4),
    posterior: bool = False,
    pixels: bool = False,
) -> Path:
    """Write latents of random values, as `mpdit encode` would, and return their folder."""
    rng = np.random.default_rng(count)
    folder.mkdir(parents=True)
    mean = rng.integers(0, 256, (count, *shape)).astype(np.uint8) if pixels else rng.normal(0.3, 2, (count, *shape))
    np.save(folder / "mean.npy", mean if pixels else mean.astype(np.float16))
    if posterior:
        np.save(folder / "std.npy", rng.uniform(0.1, 0.5, (count, *shape)).astype(np.float16))
    np.save(folder / "labels.npy", rng.integers(0, 3, count))
    manifest = Manifest(
        version=1,
        name="random",
        source=SourceRecord(kind="mnist", path=None, fingerprint="0" * 64, class_order="alphabetical"),
        count=count,
        skipped=(),
        shape=shape,
        classes=("a", "b", "c"),
        resolution=shape[1],
        filter="box",
        crop="center",
        flips="none",
        autoencoder=None,
        posterior=posterior,
        dtype="uint8" if pixels else "float16",
        channel_mean=(0.3,) * shape[0],
        channel_std=(2.0,) * shape[0],
        fingerprint=f"{count:064x}",
    )
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return folder


def make_spec(config: str = "E", lr: float = 0.01, seed: int = 0, **training: Any) -> RunSpec:
    """Return the spec of a run of 12 steps; `training` replaces single keys of its section."""
    return RunSpec(
        model="DiT-Nano/2",
        config=config,
        modulation="scale_shift",
        lr=lr,
        seed=seed,
        data=DataIdentity("random", 4, None, "none"),
        training=Training(**{
            "steps": 12, "batch_size": 8, "schedule": "inverse_sqrt", "warmup_steps": 3, "decay_start": 6,
            "betas": (0.9, 0.99), "label_dropout": 0.1, "gradient_clip": None, "precision": "float32",
            "ema_widths": (0.05, 0.1), "snapshots": 3, "snapshot_dtype": "float32", **training,
        }),
        fields=resolve(config),
    )  # fmt: skip


def train_in(folder: Path, spec: RunSpec, latents: Path, **options: Any) -> int:
    """Train in this process, on the CPU, with checkpoints every 4 steps; return the exit status."""
    options = {"device": "cpu", "log_every": 5, "checkpoint_every": 4, **options}
    return train(spec, latents, folder / "trained.json", **options)


def train_and_exit(folder: Path, spec: RunSpec, latents: Path, checkpoint_every: int) -> NoReturn:
    """Train in this process with one thread, then exit. Here, as a process that is spawned cannot import test files."""
    torch.set_num_threads(1)
    sys.exit(train_in(folder, spec, latents, checkpoint_every=checkpoint_every, log_every=7))


def write_spec(folder: Path, spec: RunSpec) -> Path:
    """Write spec.json into the run's folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec.to_json()))
    return folder / "spec.json"


def command(folder: Path, spec: RunSpec, latents: Path, *options: str) -> list[str]:
    """Return the command line that trains in `folder` on the CPU, after writing spec.json there."""
    files = [write_spec(folder, spec), "--latents", latents, "--output", folder / "trained.json"]
    return [sys.executable, "-m", "mpdit", "train", *map(str, files), "--device", "cpu", *options]


def run_command(folder: Path, spec: RunSpec, latents: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run that command line to its end."""
    return subprocess.run(command(folder, spec, latents, *options), capture_output=True, text=True, env=environment())


def environment() -> dict[str, str]:
    """Return the environment of a child process that finds this package and computes with one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Make every trainer call `action` right after this step."""
    advance = Trainer.advance

    def advance_and_act(self: Trainer) -> None:
        advance(self)
        if self.step == step:
            action()

    monkeypatch.setattr(Trainer, "advance", advance_and_act)


def read_outcome(folder: Path) -> TrainedRun:
    """Return a run's trained.json."""
    return TrainedRun.read(folder / "trained.json")


def log_lines(folder: Path) -> list[str]:
    """Return the lines of a run's train.log without date and name."""
    return [line.split(": ", 1)[1] for line in (folder / "train.log").read_text().splitlines()]


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the deterministic columns of a run's training.csv."""
    header, *lines = [line.split(",") for line in (folder / "training.csv").read_text().splitlines()]
    return [{name: row[name] for name in DETERMINISTIC} for row in (dict(zip(header, x, strict=True)) for x in lines)]


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs are bit-identical: last checkpoint (the whole state), snapshots, model, training.csv."""
    names = {path.relative_to(one) for path in one.glob("*/*.safetensors") if "checkpoints" not in str(path)}
    assert names == {
        path.relative_to(other) for path in other.glob("*/*.safetensors") if "checkpoints" not in str(path)
    }
    last = sorted((one / "checkpoints").glob("step-*"))[-1].relative_to(one)
    for name in [*names, last, Path("model.safetensors")]:
        ours, theirs = load_file(one / name), load_file(other / name)
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), f"{name}: {key}"
    assert rows(one) == rows(other)
