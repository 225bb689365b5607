"""A run small enough to be trained hundreds of times in tests: 4x4 random latents of three classes, DiT-Nano/2."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from mpdit.experiment.ladder import resolve
from mpdit.training.loop import train
from mpdit.training.training_log import COLUMNS

ROOT = Path(__file__).parents[2]
DETERMINISTIC = COLUMNS[: COLUMNS.index("images_per_second")]  # on the CPU: the others measure the machine


def write_latents(
    folder: Path, count: int = 50, shape=(2, 4, 4), posterior: bool = False, pixels: bool = False
) -> Path:
    """A finished latent store of random values."""
    rng = np.random.default_rng(count)
    folder.mkdir(parents=True)
    mean = rng.integers(0, 256, (count, *shape)).astype(np.uint8) if pixels else rng.normal(0.3, 2, (count, *shape))
    np.save(folder / "mean.npy", mean if pixels else mean.astype(np.float16))
    if posterior:
        np.save(folder / "std.npy", rng.uniform(0.1, 0.5, (count, *shape)).astype(np.float16))
    np.save(folder / "labels.npy", rng.integers(0, 3, count))
    manifest = {
        "version": 1, "name": "random", "count": count, "shape": list(shape), "classes": ["a", "b", "c"],
        "dtype": "uint8" if pixels else "float16", "posterior": posterior, "autoencoder": None,
        "channel_mean": [0.3] * shape[0], "channel_std": [2.0] * shape[0], "fingerprint": f"{count:064x}",
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def make_spec(config: str = "E", lr: float = 0.01, seed: int = 0, **training) -> dict:
    return {
        "run": f"tiny-{config}", "model": "DiT-Nano/2", "config": config, "fields": asdict(resolve(config)),
        "modulation": "scale_shift", "lr": lr, "seed": seed, "data": {"name": "random"},
        "training": {
            "steps": 12, "batch_size": 8, "schedule": "inverse_sqrt", "warmup_steps": 3, "decay_start": 6,
            "betas": [0.9, 0.99], "label_dropout": 0.1, "gradient_clip": None, "precision": "float32",
            "ema_widths": [0.05, 0.1], "snapshots": 3, "snapshot_dtype": "float32", **training,
        },
    }  # fmt: skip


def train_in(folder: Path, spec: dict, latents: Path, **options) -> int:
    options = {"device": "cpu", "log_every": 5, "checkpoint_every": 4, **options}
    return train(spec, latents, folder / "trained.json", **options)


def command(folder: Path, spec: dict, latents: Path, *options: str) -> list[str]:
    """The same by the command line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    words = [
        "train",
        folder / "spec.json",
        "--latents",
        latents,
        "--output",
        folder / "trained.json",
        "--device",
        "cpu",
    ]
    return [sys.executable, "-m", "mpdit", *map(str, words), *options]


def run_command(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), **options)


def environment() -> dict:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def rows(folder: Path) -> list[dict]:
    """The deterministic columns of training.csv."""
    header, *lines = [line.split(",") for line in (folder / "training.csv").read_text().splitlines()]
    return [{name: row[name] for name in DETERMINISTIC} for row in (dict(zip(header, x, strict=True)) for x in lines)]


def assert_same_run(one: Path, other: Path) -> None:
    """Bit-identical: last checkpoint (weights, optimiser, EMAs, sums), all snapshots, the model, training.csv."""
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
