"""Samplers: draw whitened latents from a model.

The three formulas are written out here, with constants in float64. diffusers has them too, but takes longer to import
than a small run takes to sample, and has products of alphas in float32; the tests compare the two.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..system import seeds
from ..system.errors import UserError
from .diffusion import Diffusion

# (x (N, C, H, W), t (N,), labels (N,)) -> (N, 2C, H, W)
Model = Callable[[Tensor, Tensor, Tensor], Tensor]
# (x, the model's output for x, the cumulative product of alphas at x and at the next timestep, which is 1 in the last
# step, a function that draws noise (N, C, H, W)) -> x at the next timestep
Step = Callable[[Tensor, Tensor, float, float, Callable[[], Tensor]], Tensor]


# --- The timesteps that are visited ---


def even_timesteps(diffusion: Diffusion, steps: int) -> list[int]:
    """`steps` timesteps in ascending order, evenly spaced from the first to the last.

    The rule of Improved DDPM's code, including its accumulated rounding error, which decides ties. A single step is the
    last timestep, pure noise; their rule would give the first.
    """
    if steps == 1:
        return [diffusion.timesteps - 1]
    stride = (diffusion.timesteps - 1) / (steps - 1)
    return [round(position) for position in accumulate(repeat(stride, steps - 1), initial=0.0)]


def log_snr_timesteps(diffusion: Diffusion, steps: int) -> list[int]:
    """`steps` distinct timesteps in ascending order, as close as possible to even spacing in log signal-to-noise ratio.

    The choice of DPM-Solver (arXiv 2206.00927), whose error bound is in terms of steps of this ratio. With 10 steps,
    the standard deviation of normal data is off by 4 %, and by 33 % or more with evenly spaced timesteps
    (tests/model/test_samplers.py).
    """
    log_snr = torch.logit(diffusion.alphas_cumprod).numpy()
    targets = np.linspace(log_snr[0], log_snr[-1], steps) if steps > 1 else log_snr[-1:]
    ideal = np.interp(
        -targets, -log_snr, np.arange(diffusion.timesteps)
    )  # negated, because np.interp needs ascending abscissas
    visited = [-1]
    for left, position in zip(reversed(range(steps)), ideal, strict=True):
        visited.append(min(max(round(position), visited[-1] + 1), diffusion.timesteps - 1 - left))
    return visited[1:]


# --- The steps between them ---


def _ancestral_step(x: Tensor, output: Tensor, alpha: float, following: float, draw: Callable[[], Tensor]) -> Tensor:
    """A sample of p(x_{t-1} | x_t) with the learned variance (DDPM, algorithm 2; Improved DDPM, eq. 15)."""
    noise, fraction = output.chunk(2, dim=1)
    beta = 1 - alpha / following
    mean = torch.add(x, noise, alpha=-beta / math.sqrt(1 - alpha)).div_(math.sqrt(1 - beta))
    if following == 1:
        return mean
    low, high = (
        math.log(beta * (1 - following) / (1 - alpha)),
        math.log(beta),
    )  # bounds of the log variance, at -1 and 1
    deviation = fraction.mul((high - low) / 4).add_((high + low) / 4).exp_()
    return mean.addcmul_(deviation, draw())


def _predict_x0(x: Tensor, output: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The predicted x_0 and noise."""
    noise = output.chunk(2, dim=1)[0]
    return torch.add(x, noise, alpha=-math.sqrt(1 - alpha)).div_(math.sqrt(alpha)), noise


def _ddim_step(x: Tensor, output: Tensor, alpha: float, following: float, draw: Callable[[], Tensor]) -> Tensor:
    """DDIM without noise: eta 0 (arXiv 2010.02502, eq. 12)."""
    x0, noise = _predict_x0(x, output, alpha)
    return x0.mul_(math.sqrt(following)).add_(noise, alpha=math.sqrt(1 - following))


class _DPMSolverSteps:
    """Steps of DPM-Solver++ 2M (arXiv 2211.01095, algorithm 2); the first and the last are of first order."""

    def __init__(self) -> None:
        self.before: tuple[float, Tensor] | None = None  # log(signal / noise) and x_0 at the timestep before

    def __call__(self, x: Tensor, output: Tensor, alpha: float, following: float, draw: Callable[[], Tensor]) -> Tensor:
        x0, _ = _predict_x0(x, output, alpha)
        log_ratio, before, self.before = _log_ratio(alpha), self.before, (_log_ratio(alpha), x0)
        if following == 1:
            return x0
        h = _log_ratio(following) - log_ratio
        if before is not None:
            x0 = torch.lerp(before[1], x0, 1 + h / (2 * (log_ratio - before[0])))
        return torch.add(
            x0 * (-math.expm1(-h) * math.sqrt(following)), x, alpha=math.sqrt((1 - following) / (1 - alpha))
        )


def _log_ratio(alpha: float) -> float:
    """log(signal / noise): half the log signal-to-noise ratio."""
    return math.log(alpha / (1 - alpha)) / 2


@dataclass(frozen=True)
class Sampler:
    """Which timesteps of the process a sampler visits, and how it gets from each to the next."""

    timesteps: Callable[[Diffusion, int], list[int]]  # ascending
    steps: Callable[[], Step]  # new ones for every batch, as some remember the step before


SAMPLERS = {
    "ddpm": Sampler(even_timesteps, lambda: _ancestral_step),
    "ddim": Sampler(even_timesteps, lambda: _ddim_step),
    "dpm_solver": Sampler(log_snr_timesteps, _DPMSolverSteps),
}


# --- Sampling ---


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Labels (count,) int64; image i has label i mod num_classes."""
    return torch.arange(count) % num_classes


def check_protocol(sampler: str, steps: int, guidance: float, count: int, timesteps: int = 1000) -> None:
    """Raise UserError, naming the field, if a sampling protocol is invalid."""
    if sampler not in SAMPLERS:
        raise UserError(f"sampler: {sampler!r}: must be one of {', '.join(SAMPLERS)}")
    if not 1 <= steps <= timesteps:
        raise UserError(f"steps: {steps}: must be 1 to {timesteps}")
    if not (math.isfinite(guidance) and guidance >= 0):
        raise UserError(f"guidance: {guidance}: must be 0 or more (1 is no guidance)")
    if count < 1:
        raise UserError(f"count: {count}: must be 1 or more")


def sample(model: Model, labels: Tensor, shape: tuple[int, int, int], **protocol: Any) -> Tensor:
    """Whitened images, one per label: float32 (N, C, H, W) on the CPU. For the arguments see `sample_batches`."""
    batches = sample_batches(model, labels, shape, **protocol)
    return torch.cat([batch.cpu() for batch in batches])


@torch.inference_mode()
def sample_batches(
    model: Model,
    labels: Tensor,
    shape: tuple[int, int, int],
    *,
    sampler: str = "ddpm",
    steps: int = 250,
    guidance: float = 1.0,
    seed: int = 0,
    num_classes: int,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    on_step: Callable[[float], None] | None = None,
) -> Iterator[Tensor]:
    """Yield batches of whitened images, float32 (B, C, H, W) on `device`, in the order of `labels`.

    All noise of image i, at every step, is a function of (seed, i) alone. So the batch size affects the images only
    through rounding in the model's batched operations, and images of two models with the same seed and sampler can be
    compared.

    Args:
        model: (x (N, C, H, W), t (N,) int64, labels (N,) int64) -> predicted noise and variance (N, 2C, H, W);
            the label `num_classes` means no label.
        labels: (N,) int64.
        shape: (C, H, W).
        sampler: `ddpm` (ancestral with learned variance, Improved DDPM), `ddim` (eta 0, arXiv 2010.02502), or
            `dpm_solver` (DPM-Solver++ 2M, arXiv 2211.01095).
        steps: 1 to 1000; each evaluates the model once.
        guidance: w in u + w (c - u), applied to the noise in all C channels; the variance is the conditional one. 1 is
            no guidance and takes half the compute.
        seed: key of the noise.
        num_classes: number of classes, and the label that means no label.
        batch_size: number of images drawn at once.
        precision: `float32`, or `bfloat16` for autocast in the model only.
        on_step: called after each step with the number of images drawn so far, fractions included.

    Raises:
        UserError: unknown sampler, or steps, guidance or number of labels out of range.
    """
    diffusion = Diffusion()
    check_protocol(sampler, steps, guidance, len(labels), diffusion.timesteps)
    device = torch.device(device)
    autocast = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    timesteps = SAMPLERS[sampler].timesteps(diffusion, steps)
    alphas = [1.0, *diffusion.alphas_cumprod[timesteps].tolist()]

    def predict(x: Tensor, t: int, y: Tensor) -> Tensor:
        """Guided noise and variance (B, 2C, H, W)."""
        if guidance == 1:
            return model(x, x.new_full((len(x),), t, dtype=torch.int64), y).float()
        unconditional = torch.full_like(y, num_classes)
        t_twice = y.new_full((2 * len(y),), t)
        output = model(torch.cat([x, x]), t_twice, torch.cat([y, unconditional])).float()
        conditional, unconditional = output.chunk(2)
        noise, variance = conditional.chunk(2, dim=1)
        unconditional_noise = unconditional[:, : shape[0]]
        return torch.cat([unconditional_noise + guidance * (noise - unconditional_noise), variance], dim=1)

    for start in range(0, len(labels), batch_size):
        y = labels[start : start + batch_size].to(device)
        draw = _noise_of_images(seed, range(start, start + len(y)), shape, device)
        x, step = draw(), SAMPLERS[sampler].steps()
        for index in reversed(range(steps)):
            with autocast:
                output = predict(x, timesteps[index], y)
            x = step(x, output, alphas[index + 1], alphas[index], draw)
            if on_step is not None:
                on_step(start + len(y) * (steps - index) / steps)
        yield x


def _noise_of_images(
    seed: int, images: range, shape: tuple[int, int, int], device: torch.device
) -> Callable[[], Tensor]:
    """A function that draws the next noise of each image, on the CPU: (B, C, H, W) on `device`."""
    generators = [seeds.generator(seed, "sampling", image) for image in images]

    def draw() -> Tensor:
        noise = torch.empty(len(images), *shape)
        for image, generator in zip(noise, generators, strict=True):
            image.normal_(generator=generator)
        return noise.to(device)

    return draw
