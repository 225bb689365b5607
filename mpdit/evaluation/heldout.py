"""The held-out loss: how well a model predicts the noise on images that it was not trained on.

Every image is shown with the same timesteps and noises to every model, so that differences between runs are paired:
they are functions of the image's row in the held-out latents and of the number of draws alone. Timesteps are
stratified: draw j of J has one in [1000 j/J, 1000 (j+1)/J). The loss is the mean squared error of the predicted noise
(Improved DDPM, arXiv 2102.09672, eq. 14), with the real label. It compares runs on the same data, under the same noise
process and prediction target.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.diffusion import Diffusion
from ..model.dit import DiT
from ..system.seeds import generator
from .heldout_parts import Part

TIMESTEPS = 1000
QUARTERS = 4  # of the timesteps
BATCH_SIZE = {"cpu": 256, "cuda": 1024}  # images times draws; on the CPU activations then stay in the cache


@dataclass(frozen=True)
class HeldoutLosses:
    """The losses of one model on N images."""

    images: NDArray[np.float64]  # (N,) mean over the draws of each image
    quarters: tuple[float, ...]  # mean over the draws in each quarter of the timesteps, the least noisy first
    variational: float  # T/1000 L_t in bits per dimension, mean over images and draws

    @property
    def mean(self) -> float:
        return float(self.images.mean())


def draws_of(image: int, draws: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Timesteps (J,) int64 and noises (J, *shape) float32 for a row of the held-out latents; J is `draws`."""
    random = generator("heldout", image)
    jitter = torch.rand(draws, generator=random, dtype=torch.float64)
    t = ((torch.arange(draws) + jitter) * (TIMESTEPS / draws)).long().clamp(max=TIMESTEPS - 1)
    return t, torch.randn(draws, *shape, generator=random)


@torch.inference_mode()
def heldout_losses(model: DiT, part: Part, draws: int, batch_size: int | None = None) -> HeldoutLosses:
    """The losses of `model`, in evaluation mode, on a part of the images, with `draws` timesteps and noises per image.

    `batch_size` is the largest number of images times draws at once, if more than one image. It changes the result by
    no more than the rounding of the model's matrix products.
    """
    device = next(model.parameters()).device
    diffusion = Diffusion(TIMESTEPS).to(device)
    at_once = max(1, (batch_size or BATCH_SIZE[device.type]) // draws)
    timesteps, errors, bounds = [], [], []
    for start in range(0, len(part), at_once):
        batch = slice(start, start + at_once)
        x0, y = (tensor.repeat_interleave(draws, dim=0) for tensor in part.images(batch, device))
        drawn = [draws_of(int(key), draws, x0.shape[1:]) for key in part.draw_keys[batch]]
        t, noise = (torch.cat(tensors).to(device) for tensors in zip(*drawn, strict=True))
        x_t = diffusion.add_noise(x0, noise, t)
        simple, variational = diffusion.losses(model(x_t, t, y), x0, noise, t)
        timesteps.append(t.cpu())
        errors.append(simple.cpu())
        bounds.append(variational.cpu())
    t, error, bound = torch.cat(timesteps), torch.cat(errors).double(), torch.cat(bounds).double()
    quarter = t * QUARTERS // TIMESTEPS
    return HeldoutLosses(
        images=error.view(-1, draws).mean(1).numpy(),
        quarters=tuple(float(error[quarter == index].mean()) for index in range(QUARTERS)),
        variational=float(bound.mean()),
    )
