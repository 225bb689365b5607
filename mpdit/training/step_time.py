"""What a configuration costs: the time of a training step, measured side by side with others."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..model.dit import DiT
from .forced_norm import ForcedNormalization, force_rows, parameter_groups
from .trainer import Objective

WARM_UP = 2  # untimed steps of each variant: optimiser state, caches, compilation


def step_times(variants: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds that one call of each variant takes, a list of `rounds` per name, measured side by side.

    In every round each variant is called once, in an order that is rotated from round to round, so that drift and
    noise of the machine meet all alike: compare within rounds (`relative_time`). Waits for CUDA where it is in use.
    """
    names, times = list(variants), {name: [] for name in variants}
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
    """Median over rounds of the ratio to the baseline in the same round, and the bounds of its 95 % interval.

    The bounds are order statistics (the sign test inverted), which presumes nothing of how times are distributed;
    with fewer than 6 rounds they are the extremes and cover less.
    """
    ratios = sorted(own / base for own, base in zip(seconds, baseline, strict=True))
    n, beyond, chance = len(ratios), 0, 0.5 ** len(ratios)
    while chance <= 0.025:  # that at most `beyond` of n ratios lie above the true median
        beyond += 1
        chance += math.comb(n, beyond) / 2**n
    lowest = max(0, beyond - 1)
    return statistics.median(ratios), ratios[lowest], ratios[n - 1 - lowest]


def training_step(
    model: DiT,
    batch: tuple[Tensor, Tensor, Tensor, Tensor],
    *,
    textbook: bool = False,
    precision: str = "float32",
    compile: bool = False,
) -> Callable[[], None]:
    """A function that makes one training step of `model`, as `trainer.Trainer` does: hybrid loss, backward, projection,
    fused Adam, renormalisation. What is the same for all letters (data, EMA, logging) is left out.

    `batch`: x0, noise (N, C, H, W), timesteps and labels (N,), on the model's device. `textbook`, for models of
    normalised weights: rows are put back on their sphere at each step, which makes it EDM2's own form of forced
    normalisation (section 2.3). `compile` as in training, with CUDA graphs where there is CUDA.
    """
    objective = Objective(model, precision).to(batch[0].device)
    forced = ForcedNormalization(model)
    spheres = list(model.sphere_rows("normalized").values()) if textbook else []
    optimizer = torch.optim.Adam(parameter_groups(model, lr=1e-4), betas=(0.9, 0.99), fused=True)
    project, renormalize = forced.project_gradients, forced.renormalize
    if compile:
        objective.compile(mode="reduce-overhead")
        project, renormalize = torch.compile(project), torch.compile(renormalize)

    def step() -> None:
        if compile:
            torch.compiler.cudagraph_mark_step_begin()
        loss, _ = objective(*batch)
        loss.backward()
        project()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        renormalize()
        force_rows(spheres)

    return step


def _synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
