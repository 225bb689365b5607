"""What a configuration costs: the time of a training step, measured side by side with others."""

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import torch

from ..experiment.ladder import LADDER, Config, Ladder
from ..model.dit import DiT, build_model
from ..model.flops import flops
from ..system.device import device_name
from .forced_norm import force_rows
from .step import TrainingBatch, TrainingStep

WARM_UP = 2  # untimed steps of each variant: optimizer state, caches, compilation

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Variant:
    """What is timed: a configuration with a modulation, in one form of its weights."""

    config: str
    fields: Config
    modulation: str
    form: str = "cheap"  # in which runs are trained; or textbook, EDM2's own form of forced normalization


BASELINE = Variant("A", LADDER["A"], "scale_shift")  # DiT


@dataclass(frozen=True)
class StepTime:
    """A row of cost.csv: a variant of `model`, and the time of its training step."""

    model: str
    config: str
    modulation: str
    form: str
    parameters: int
    flops: int  # of the forward pass of one image
    step_seconds: float  # median over rounds
    relative: float  # to BASELINE of the same model: median over rounds of the ratio within a round
    relative_low: float  # bounds of its 95 % interval
    relative_high: float
    rounds: int
    device: str
    threads: int

    def cells(self) -> dict[str, str]:
        """Return the row as text by column."""
        formats = {"step_seconds": ".6g", "relative": ".4f", "relative_low": ".4f", "relative_high": ".4f"}
        return {name: format(value, formats.get(name, "")) for name, value in asdict(self).items()}


def measure(
    model: str,
    modulation: str,
    configs: Sequence[str],
    ladder: Ladder,
    *,
    shape: tuple[int, int, int],
    num_classes: int,
    batch_size: int,
    rounds: int,
    precision: str,
    device: torch.device,
    compile: bool,
) -> list[StepTime]:
    """Measure the step time of `configs` of one model and modulation, and of BASELINE, side by side.

    Model and configurations are those of `ladder`; `shape` is that of the latents, (C, H, W). A configuration with
    forced weights gives two rows, one per form. All variants are in memory at once and take their steps in turn, on one
    batch of noise.
    """
    batch = _random_batch(shape, num_classes, batch_size, device)
    variants = [
        Variant(config, ladder.config(config), modulation, form)
        for config in configs
        for form in (("cheap", "textbook") if ladder.config(config).weights == "forced" else ("cheap",))
    ]
    size, patch = ladder.parse_model(model)
    models = {}
    for variant in dict.fromkeys((BASELINE, *variants)):
        is_textbook = variant.form == "textbook"
        models[variant] = build_model(
            size,
            patch,
            replace(variant.fields, weights="normalized") if is_textbook else variant.fields,
            variant.modulation,
            input_size=shape[1],
            in_channels=shape[0],
            num_classes=num_classes,
            seed=0,
        ).to(device)
    steps = {
        variant: step_on_batch(
            models[variant], batch, textbook=variant.form == "textbook", precision=precision, compile=compile
        )
        for variant in models
    }
    times = step_times(steps, rounds)
    rows = []
    for variant in variants:
        relative, low, high = relative_time(times[variant], times[BASELINE])
        rows.append(
            StepTime(
                model=model,
                config=variant.config,
                modulation=variant.modulation,
                form=variant.form,
                parameters=sum(parameter.numel() for parameter in models[variant].parameters()),
                flops=flops(models[variant]),
                step_seconds=statistics.median(times[variant]),
                relative=relative,
                relative_low=low,
                relative_high=high,
                rounds=rounds,
                device=device_name(device),
                threads=torch.get_num_threads(),
            )
        )
    return rows


def step_on_batch(
    model: DiT, batch: TrainingBatch, *, textbook: bool = False, precision: str = "float32", compile: bool = False
) -> Callable[[], None]:
    """Return a function that takes one step of training on `batch`, always the same, on the model's device.

    It is the step that runs are trained with, without what is the same for all configurations: data, EMA, logging.
    `textbook`, for models of normalized weights, also puts their rows back on the sphere after each step, which makes
    it EDM2's own form of forced normalization (section 2.3). `compile` as in training.
    """
    step = TrainingStep(model, lr=1e-4, betas=(0.9, 0.99), precision=precision, compile=compile)
    rows = list(model.sphere_rows("normalized").values()) if textbook else []

    def take_step() -> None:
        step(batch)
        force_rows(rows)

    return take_step


def step_times(variants: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Measure the time of one call of each variant side by side: `rounds` values in seconds per name.

    In every round each variant is called once, in an order that rotates from round to round, so that drift and noise
    of the machine affect all alike: compare within rounds (`relative_time`). Waits for CUDA if it is in use.
    """
    names = list(variants)
    times: dict[Name, list[float]] = {name: [] for name in variants}
    for name in names * WARM_UP:
        variants[name]()
    for i in range(rounds):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            _synchronize()
            start = time.perf_counter()
            variants[name]()
            _synchronize()
            times[name].append(time.perf_counter() - start)
    return times


def relative_time(seconds: Sequence[float], baseline: Sequence[float]) -> tuple[float, float, float]:
    """Return the median over rounds of the ratio to the baseline in the same round, and its 95 % interval.

    The bounds are order statistics (an inverted sign test), which assumes nothing about the distribution of times; with
    fewer than 6 rounds they are the extremes, and cover less.
    """
    ratios = sorted(own / base for own, base in zip(seconds, baseline, strict=True))
    n, beyond, chance = len(ratios), 0, 0.5 ** len(ratios)
    while chance <= 0.025:  # the probability that at most `beyond` of n ratios exceed the true median
        beyond += 1
        chance += math.comb(n, beyond) / 2**n
    lowest = max(0, beyond - 1)
    return statistics.median(ratios), ratios[lowest], ratios[n - 1 - lowest]


def _random_batch(
    shape: tuple[int, int, int], num_classes: int, batch_size: int, device: torch.device
) -> TrainingBatch:
    """Return a batch of noise: step times do not depend on the data."""
    random = torch.Generator(device).manual_seed(0)
    x0, noise = (torch.randn(batch_size, *shape, generator=random, device=device) for _ in range(2))
    t = torch.randint(1000, (batch_size,), generator=random, device=device)
    y = torch.randint(num_classes, (batch_size,), generator=random, device=device)
    return TrainingBatch(x0, noise, t, y)


def _synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
