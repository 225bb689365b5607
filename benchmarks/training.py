"""Speed of the training loop: steps and images per second, FLOPs utilization, waiting for data, memory, overhead.

    python benchmarks/training.py                     # the study on a laptop: DiT-Nano/2, 8x8 pixels, one CPU thread
    python benchmarks/training.py --device cuda       # the paper's: DiT-S/2, 4x16x16 latents, batch 256, bfloat16
    python benchmarks/training.py --device cuda --model DiT-XS/2 --configs A E

The loop is that of `mpdit train`, on random latents: batches, random numbers, step, EMAs, loss sums, and a log row
every --steps steps. "bare" is the same step on one fixed batch, and nothing else. Configurations, with and without the
loop, are timed in turn, --steps steps each, in --rounds rounds; ratios are medians over rounds of the ratio within a
round, with a 95 % interval. Loading compares batches from `mpdit.training.batches` with a DataLoader of items.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mpdit.data.latents import Latents, to_raw
from mpdit.experiment.ladder import LADDER, resolve
from mpdit.experiment.records import Manifest, SourceRecord
from mpdit.experiment.run_spec import DataIdentity, RunSpec
from mpdit.experiment.schema import Training
from mpdit.model.flops import flops
from mpdit.system.device import add_device_argument, choose_device, peak_memory
from mpdit.system.interruption import Interruption
from mpdit.training.batches import Batches
from mpdit.training.distributed import join
from mpdit.training.step_time import relative_time, step_on_batch, step_times
from mpdit.training.trainer import Trainer

# Peak of dense matrix products in bfloat16, FLOP/s, from the vendor's data sheets; elsewhere it is measured.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
DEFAULTS = {
    "cpu": {"model": "DiT-Nano/2", "shape": [1, 8, 8], "batch_size": 128, "precision": "float32", "count": 5_000},
    "cuda": {"model": "DiT-S/2", "shape": [4, 16, 16], "batch_size": 256, "precision": "bfloat16", "count": 200_000},
}


def write_latents(folder: Path, count: int, shape: tuple[int, int, int]) -> Latents:
    """Write random pixels (if there is one channel) or random latents with a posterior, and open them."""
    rng, pixels = np.random.default_rng(0), shape[0] == 1
    if pixels:
        np.save(folder / "mean.npy", rng.integers(0, 256, (count, *shape), np.uint8))
    else:
        np.save(folder / "mean.npy", rng.standard_normal((count, *shape), np.float32).astype(np.float16))
        np.save(folder / "std.npy", np.full((count, *shape), 0.1, np.float16))
    np.save(folder / "labels.npy", rng.integers(0, 10, count))
    manifest = Manifest(
        version=1,
        name="random",
        source=SourceRecord(kind="folder", path="random", fingerprint="0" * 64, class_order="alphabetical"),
        count=count,
        skipped=(),
        shape=shape,
        classes=tuple(map(str, range(10))),
        resolution=shape[1],
        filter="box",
        crop="center",
        flips="none",
        autoencoder=None,
        posterior=not pixels,
        dtype="uint8" if pixels else "float16",
        channel_mean=(0.0,) * shape[0],
        channel_std=(0.6 if pixels else 1.0,) * shape[0],
        fingerprint="0" * 64,
    )
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return Latents(folder)


def make_trainer(arguments: argparse.Namespace, config: str, latents: Latents) -> Trainer:
    """Return the trainer of a run of `config` whose steps never end."""
    training = Training(
        steps=10**6, batch_size=arguments.batch_size, warmup_steps=100, decay_start=1000, snapshots=1,
        precision=arguments.precision,
    )  # fmt: skip
    data = DataIdentity("random", latents.shape[1], None, "none")
    spec = RunSpec(arguments.model, config, "scale_shift", 1e-3, 0, data, training, resolve(config))
    return Trainer(spec, latents, join(arguments.device), arguments.compile)


def loop(trainer: Trainer, interruption: Interruption, steps: int) -> Callable[[], None]:
    """Return a function that takes `steps` steps as `mpdit train` does, and computes a log row."""

    def block() -> None:
        for _ in range(steps):
            interruption.reason()
            trainer.advance()
        assert not trainer.loss_sums.diverged_at, "the run has diverged, so its time means nothing"
        trainer.loss_sums.means(), trainer.weight_norm()
        trainer.loss_sums.reset()

    return block


class Items(Dataset[tuple[Tensor, np.ndarray]]):
    """The latents one by one, as a data loader reads them."""

    def __init__(self, latents: Latents) -> None:
        self.latents, (self.offset, self.scale) = latents, latents.whitening()

    def __len__(self) -> int:
        return self.latents.count

    def __getitem__(self, index: int) -> tuple[Tensor, np.ndarray]:
        x = to_raw(torch.from_numpy(self.latents.mean[index].copy()))
        if self.latents.std is not None:
            x = x + torch.from_numpy(self.latents.std[index].copy()).float() * torch.randn(x.shape)
        return (x - self.offset) / self.scale, self.latents.labels[index].copy()


def loading(latents: Latents, arguments: argparse.Namespace) -> None:
    """Print the batches per second of three ways to load."""
    device, size = torch.device(arguments.device), arguments.batch_size
    loader = DataLoader(Items(latents), size, shuffle=True, drop_last=True)
    items = iter([])

    def from_items() -> None:
        nonlocal items
        batch = next(items, None)
        if batch is None:
            items = iter(loader)
            batch = next(items)
        batch[0].to(device), batch[1].to(device)

    variants = {"DataLoader of items": from_items}
    for name, resident in (("read from disk", False), ("resident", True)):
        batches = Batches(latents, 0, size, device, resident=resident)
        counter = iter(range(1, 10**9))
        variants[name] = lambda batches=batches, counter=counter: batches(next(counter))
    times = step_times(variants, 10 * arguments.rounds)
    for name, seconds in times.items():
        ratio = 1 / relative_time(seconds, times["DataLoader of items"])[0]
        rate = 1 / statistics.median(seconds)
        print(f"loading, {name:<20} {rate:10.1f} batches/s {ratio:8.1f} x the DataLoader")


def peak_rate(arguments: argparse.Namespace) -> tuple[float, str]:
    """Return the peak FLOP/s of matrix products on the device, and how it is known."""
    if arguments.device == "cuda":
        name = torch.cuda.get_device_name()
        for known, peak in PEAKS.items():
            if known in name and arguments.precision == "bfloat16":
                return peak, f"{known} data sheet"
    n = 8192 if arguments.device == "cuda" else 1024
    a = torch.randn(n, n, device=arguments.device, dtype=getattr(torch, arguments.precision))
    seconds = step_times({"product": lambda: a @ a}, 10)["product"]
    return 2 * n**3 / min(seconds), "matrix products measured here"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device_argument(parser)
    parser.add_argument("--model")
    parser.add_argument("--configs", nargs="+", choices=LADDER, default=["E"])
    parser.add_argument("--shape", nargs=3, type=int, metavar=("C", "H", "W"))
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--count", type=int, help="number of images in the data set")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="use torch.compile (default: on CUDA)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="between two log rows (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="(%(default)s)")
    arguments = parser.parse_args()
    arguments.device = choose_device(arguments.device).type
    for name, value in DEFAULTS[arguments.device].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    arguments.compile = arguments.device == "cuda" if arguments.compile is None else arguments.compile
    torch.set_num_threads(arguments.threads)
    print(
        f"{arguments.model}, batch {arguments.batch_size} of {arguments.shape}, {arguments.precision}, "
        f"{torch.cuda.get_device_name() if arguments.device == 'cuda' else f'CPU, {arguments.threads} threads'}, "
        f"{'compiled' if arguments.compile else 'eager'}, torch {torch.__version__}"
    )
    with TemporaryDirectory() as folder, Interruption() as interruption:
        latents = write_latents(Path(folder), arguments.count, tuple(arguments.shape))
        loading(latents, arguments)
        measure(latents, arguments, interruption)


def measure(latents: Latents, arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Print the speed of the loop for each configuration, and its overhead over bare steps."""
    trainers, variants = {}, {}
    for config in arguments.configs:
        trainers[config] = trainer = make_trainer(arguments, config, latents)
        variants[config] = loop(trainer, interruption, arguments.steps)
        twin, batch = deepcopy(trainer.model), trainer.batch(1)
        step = step_on_batch(twin, batch, precision=arguments.precision, compile=arguments.compile)
        variants[f"{config} bare"] = lambda step=step: [step() for _ in range(arguments.steps)]
    start = time.perf_counter()
    times = step_times(variants, arguments.rounds)
    elapsed = time.perf_counter() - start
    peak, source = peak_rate(arguments)
    for config, trainer in trainers.items():
        rate = arguments.steps / statistics.median(times[config])
        images = rate * arguments.batch_size
        use = 3 * flops(trainer.model) * images / peak  # the backward pass costs twice the forward pass
        print(
            f"{config}: {rate:.1f} steps/s, {images:,.0f} images/s, {use:.1%} of {peak / 1e12:.3g} TFLOP/s ({source})"
        )
        print(f"{config}: waiting for data {trainer.batches.waited / elapsed:.2%} of the time")
        ratio, low, high = relative_time(times[config], times[f"{config} bare"])
        print(f"{config}: overhead of the loop over bare steps {ratio - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%})")
        if config != arguments.configs[0]:
            ratio, low, high = relative_time(times[config], times[arguments.configs[0]])
            print(f"{config}: step time {ratio:.3f} of {arguments.configs[0]}'s ({low:.3f} to {high:.3f})")
    print(f"peak memory of this process {peak_memory(torch.device(arguments.device)) / 1e6:,.0f} MB, with all models")


if __name__ == "__main__":
    main()
