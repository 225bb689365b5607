"""Share of the time of stages (encode, train, sample, trace) that seals take, and their cost for a large file.

    python benchmarks/seals.py [--steps 400] [--megabytes 512] [--rounds 3]

The stages are those of one small run, DiT-Nano/4 on 8x8 digits; larger models do more work per byte. The functions that
compute, write and compare seals are timed while each stage does its work in this process; the share is the median over
rounds. The large file has the size of a snapshot of DiT-B/2 in float32 unless told otherwise: writing (with fsync) and
reading it into memory are timed beside the seal.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.system import files, safetensors_seal, seals

STUDY = {
    "data": {"name": "mnist8", "source": "mnist", "resolution": 8},
    "training": {"batch_size": 64, "warmup_steps": 10, "decay_start": 50, "precision": "float32", "snapshots": 16},
    "learning_rates": {"E": 2e-2},
    "experiments": {"table1": {"model": "DiT-Nano/4", "config": "E", "modulation": "scale_shift", "seed": 0}},
}
# Everything that a stage does for seals ends up in one of these.
SEALING = (
    (safetensors_seal, "fill_in"), (safetensors_seal, "inspect"), (files, "_move_sealed"), (files, "write_seals"),
    (files, "json_seal"), (seals, "read_seals"), (seals, "array_seal"), (seals.Seal, "fits"),
    (seals.Seal, "fits_bytes"), (seals.ArraySeal, "update"), (seals.ArraySeal, "finish"),
)  # fmt: skip


class Stopwatch:
    """Seconds spent in the functions SEALING, counted once where one calls another."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def __enter__(self) -> "Stopwatch":
        self._originals = [(owner, name, getattr(owner, name)) for owner, name in SEALING]
        for owner, name, function in self._originals:
            setattr(owner, name, self._timed(function))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, function in self._originals:
            setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            start, self._depth = time.perf_counter(), self._depth + 1
            try:
                return function(*arguments, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - start

        return timed


def share(words: list[object]) -> float:
    """The share of seals in the time of one command."""
    start = time.perf_counter()
    with Stopwatch() as watch, contextlib.redirect_stdout(io.StringIO()):
        status = main([str(word) for word in words])
    assert status == 0, words
    return watch.seconds / (time.perf_counter() - start)


def stages(folder: Path, steps: int) -> dict[str, float]:
    """The share of each stage of one run, made from nothing in `folder`."""
    experiment = Experiment(STUDY | {"training": {**STUDY["training"], "steps": steps}})
    (run,) = experiment.runs.values()
    latents, runs = folder / "latents", folder / "runs" / run.name
    runs.mkdir(parents=True)
    files.write_json(runs / "spec.json", run.to_json(), sealed=False)
    files.write_json(folder / "data.json", experiment.data.to_json())
    spec, cpu = runs / "spec.json", ["--device", "cpu"]
    given = [runs, "--latents", latents, *cpu]
    return {
        "encode": share(["encode", folder / "data.json", "--output", latents, *cpu]),
        "train": share(["train", spec, "--latents", latents, "--output", runs / "trained.json", *cpu]),
        "sample": share(["sample", *given, "--output", runs / "samples/p", "--count", 200, "--steps", 50]),
        "trace": share(["trace", *given, "--output", runs / "magnitudes.csv", "--images", 64]),
    }


def large_file(path: Path, megabytes: int) -> dict[str, float]:
    """Seconds for writing, sealing, reading and comparing one large file."""
    tensors = {f"w{index}": torch.randn(256, 1024) for index in range(megabytes)}  # 1 MiB each
    seconds = {}

    def timed(name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        seconds[name] = time.perf_counter() - start

    def write() -> None:
        save_file(tensors, path, metadata=safetensors_seal.UNSEALED)
        files._sync_file(path)

    timed("write", write)
    timed("seal", lambda: safetensors_seal.fill_in(path))
    timed("read", lambda: [tensor.clone() for tensor in load_file(path).values()])
    timed("compare", lambda: safetensors_seal.inspect(path))
    return seconds


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="of training (%(default)s)")
    parser.add_argument("--megabytes", type=int, default=512, help="of the large file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    args = parser.parse_args()
    shares, sizes = [], []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            shares.append(stages(Path(folder), args.steps))
            sizes.append(large_file(Path(folder) / "large.safetensors", args.megabytes))
    print("share of seals in the time of a stage")
    for stage in shares[0]:
        print(f"  {stage:<8} {statistics.median(each[stage] for each in shares):7.2%}")
    print(f"a file of {args.megabytes} MiB")
    for name, beside in (("seal", "write"), ("compare", "read")):
        seconds = statistics.median(each[name] for each in sizes)
        ratio = statistics.median(each[name] / each[beside] for each in sizes)
        print(f"  {name:<8} {seconds * 1000:6.0f} ms, {ratio:.2f} times the time to {beside} it")


if __name__ == "__main__":
    run()
