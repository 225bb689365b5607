"""What the jobs of a study take, before they run: floating-point operations (FLOPs), and bytes on disk.

FLOPs are those of matrix products, 2 for a multiplication and an addition, counted by torch on the meta device.
Torch is imported inside functions.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..experiment.autoencoder_config import AUTOENCODERS, read_autoencoder_config
from ..experiment.ladder import Config, Size
from ..experiment.run_files import KEPT_CHECKPOINTS
from ..experiment.run_spec import Protocol
from ..experiment.schedule import snapshot_steps
from ..experiment.schema import Heldout, Tracing, Training

BACKWARD = 2  # a backward pass costs two forward passes: gradients of inputs and of weights


# ---------------------------------------------------------------------------------------------------------------------
# Models and autoencoders


@dataclass(frozen=True)
class ModelSize:
    """The size of a model of the grid."""

    matrices: int  # parameters with two dimensions or more, which snapshots hold in their own dtype
    vectors: int  # all other parameters, always stored in float32
    flops: int  # of the forward pass of one image

    @property
    def parameters(self) -> int:
        return self.matrices + self.vectors


@cache
def model_size(
    size: Size, patch: int, config: Config, modulation: str, shape: tuple[int, int, int], classes: int
) -> ModelSize:
    """The size of a model on latents of `shape` (C, H, W)."""
    import torch

    from ..model.dit import build_model
    from ..model.flops import flops

    channels, side, _ = shape
    with torch.device("meta"):
        built = build_model(size, patch, config, modulation, input_size=side, in_channels=channels, num_classes=classes)
    matrices = sum(parameter.numel() for parameter in built.parameters() if parameter.ndim > 1)
    vectors = sum(parameter.numel() for parameter in built.parameters() if parameter.ndim < 2)
    return ModelSize(matrices, vectors, flops(built))


# The architecture of Stable Diffusion's autoencoder, of 1.x and its fine-tuned ft-ema and ft-mse, in diffusers' terms.
SD_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 32,
}


@dataclass(frozen=True)
class AutoencoderSize:
    """The latents that an autoencoder makes of one image, and its FLOPs. Without one, on pixels, FLOPs are 0."""

    shape: tuple[int, int, int]  # (C, H, W)
    posterior: bool  # whether latents have a standard deviation beside the mean
    encoding: int = 0
    decoding: int = 0


def autoencoder_size(name: str, resolution: int) -> tuple[AutoencoderSize, bool]:
    """The size of an autoencoder by its config.json, and whether it is known.

    The file is in the local folder `name` or in the hub's cache; nothing is downloaded. Without it the architecture of
    the SD-VAE is assumed.
    """
    import diffusers
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ..data.autoencoder import encode_images

    config = read_autoencoder_config(name)
    is_known = config is not None and config.get("_class_name") in AUTOENCODERS
    architecture = config if config is not None and is_known else SD_VAE
    with torch.device("meta"), torch.no_grad():
        autoencoder = getattr(diffusers, architecture["_class_name"]).from_config(architecture)
        image = torch.empty(1, autoencoder.config.in_channels, resolution, resolution)
        with FlopCounterMode(display=False) as encoding:
            mean, std = encode_images(autoencoder, image)
        with FlopCounterMode(display=False) as decoding:
            autoencoder.decode(mean)
    _, channels, height, width = mean.shape
    flops = (encoding.get_total_flops(), decoding.get_total_flops())
    return AutoencoderSize((channels, height, width), std is not None, *flops), is_known


# ---------------------------------------------------------------------------------------------------------------------
# Floating-point operations


def training_flops(size: ModelSize, training: Training, steps: int) -> int:
    """FLOPs of `steps` training steps: forward and backward pass of each image of a batch."""
    return (1 + BACKWARD) * size.flops * training.batch_size * steps


def sampling_flops(size: ModelSize, protocol: Protocol) -> int:
    """FLOPs of drawing all images of a protocol: one forward pass per step, two under guidance."""
    passes = 1 if protocol.guidance == 1 else 2
    return passes * size.flops * protocol.sampling_steps * protocol.count


def tracing_flops(size: ModelSize, tracing: Tracing, training: Training) -> int:
    """FLOPs of the forward passes at initialization and at each traced snapshot."""
    traced = 1 + min(tracing.snapshots, training.snapshots)
    return size.flops * tracing.images * len(tracing.timesteps) * traced


def heldout_flops(size: ModelSize, images: int, heldout: Heldout, training: Training, widths: int) -> int:
    """FLOPs of the forward passes on held-out images, of which there are `images`, and on half as many trained on.

    At the last step in `widths` EMA widths; at each earlier snapshot in one, without the half that tunes.
    """
    earlier = min(heldout.snapshots, training.snapshots) - 1
    return size.flops * heldout.draws * images * (3 * widths + 2 * earlier) // 2


# ---------------------------------------------------------------------------------------------------------------------
# Bytes on disk


def latents_bytes(count: int, shape: tuple[int, int, int], pixels: bool, posterior: bool) -> int:
    """Bytes of mean.npy, labels.npy and, with a posterior, std.npy for `count` images, mirrored ones included."""
    per_value = 1 if pixels else 4 if posterior else 2
    return count * (math.prod(shape) * per_value + 8)


def snapshots_bytes(size: ModelSize, training: Training) -> int:
    """Bytes of a finished run: one snapshot per width and time, the final plain weights, and model.safetensors."""
    stored = (2 if training.snapshot_dtype == "float16" else 4) * size.matrices + 4 * size.vectors
    times = len(snapshot_steps(training.steps, training.snapshots))
    return (times * len(training.ema_widths) + 1) * stored + 4 * size.parameters


def checkpoints_bytes(size: ModelSize, training: Training) -> int:
    """Bytes of the checkpoints that a run keeps: weights, both moments of Adam and the EMAs, in float32."""
    return KEPT_CHECKPOINTS * 4 * size.parameters * (3 + len(training.ema_widths))


def samples_bytes(count: int, resolution: int) -> int:
    """Bytes of samples.npz: images as uint8 (count, R, R, 3), and their labels."""
    return count * (3 * resolution**2 + 8)
