"""Samplers: draw whitened latents from a model, with diffusers' schedulers on timesteps chosen here."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from ..system import seeds
from ..system.errors import UserError
from .diffusion import Diffusion

# (x (N, C, H, W), t (N,), labels (N,)) -> (N, 2C, H, W)
Model = Callable[[Tensor, Tensor, Tensor], Tensor]


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


@dataclass(frozen=True)
class Sampler:
    """A scheduler of diffusers and how it is used here."""

    scheduler: type  # class in diffusers
    settings: dict[str, Any]  # its arguments
    timesteps: Callable[[Diffusion, int], list[int]]  # the timesteps of the process that are visited
    stochastic: bool  # whether each step adds noise of the learned variance


SAMPLERS = {
    "ddpm": Sampler(DDPMScheduler, {"variance_type": "learned_range", "clip_sample": False}, even_timesteps, True),
    "ddim": Sampler(DDIMScheduler, {"clip_sample": False}, even_timesteps, False),
    "dpm_solver": Sampler(DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}, log_snr_timesteps, False),
}


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Labels (count,) int64; image i has label i mod num_classes."""
    return torch.arange(count) % num_classes


def respaced_scheduler(sampler: str, diffusion: Diffusion, timesteps: list[int]) -> Any:
    """A scheduler of diffusers for the shorter process that visits only `timesteps` (ascending).

    Its own timesteps are 0 .. len(timesteps)-1. A separate process is needed because diffusers' DDIM assumes that the
    step before t is t - T // steps, which does not hold for the spacing of Improved DDPM.
    """
    alphas_cumprod = diffusion.alphas_cumprod[timesteps]  # (S,) float64
    previous = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    scheduler = SAMPLERS[sampler].scheduler(
        len(timesteps),
        trained_betas=(1 - alphas_cumprod / previous).tolist(),
        timestep_spacing="trailing",  # visits every step; with other spacings DPM-Solver skips some
        **SAMPLERS[sampler].settings,
    )
    scheduler.alphas_cumprod = (
        alphas_cumprod  # the scheduler's own is in float32, too coarse for 1 - alpha_t / alpha_{t-1}
    )
    return scheduler


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
    scheduler = respaced_scheduler(sampler, diffusion, timesteps)

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
        generators = [seeds.generator(seed, "sampling", start + i) for i in range(len(y))]
        x = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
        with warnings.catch_warnings():  # diffusers converts tensors to arrays in a way that numpy 2 deprecates
            warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
            scheduler.set_timesteps(steps)  # also resets the state from the previous batch
        for step in reversed(range(steps)):
            with autocast:
                output = predict(x, timesteps[step], y)
            if SAMPLERS[sampler].stochastic:
                x = scheduler.step(output, step, x, generator=generators).prev_sample
            else:  # pass the noise only, because these schedulers would split the output at three channels
                x = scheduler.step(output[:, : shape[0]], step, x).prev_sample
            if on_step is not None:
                on_step(start + len(y) * (steps - step) / steps)
        yield x
