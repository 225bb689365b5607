"""What jobs of a study take, before they run: floating-point operations, and bytes on disk.

Operations are those of matrix products, 2 for a multiplication and an addition, counted by torch on the meta device.
Torch is imported inside functions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..system.files import read_json

# FLOPs of an image through a network of features, at the size the network sees, by torch's FlopCounterMode.
FEATURE_FLOPS = {"efficientnet-lite0": 141_027_264, "inception": 11_422_336_192}
BACKWARD = 2  # a backward pass costs two forward passes: gradients of inputs and of weights


@dataclass(frozen=True)
class ModelSize:
    """A model of the grid: `matrices`, parameters of two dimensions and more, which snapshots hold in their dtype;
    `vectors`, the others, always in float32; `flops` of the forward pass of one image."""

    matrices: int
    vectors: int
    flops: int

    @property
    def parameters(self) -> int:
        return self.matrices + self.vectors


@cache
def model_size(model: str, config: str, modulation: str, shape: tuple[int, int, int], classes: int) -> ModelSize:
    """The size of a model on latents of `shape` (C, H, W). UserError for what is not in the grid."""
    import torch

    from ..model.dit import create_model
    from ..model.flops import flops

    channels, side, _ = shape
    with torch.device("meta"):
        built = create_model(model, config, modulation, input_size=side, in_channels=channels, num_classes=classes)
    counts = [0, 0]
    for parameter in built.parameters():
        counts[parameter.ndim < 2] += parameter.numel()
    return ModelSize(*counts, flops(built))


# The architecture of Stable Diffusion's autoencoder, of 1.x and its fine-tuned ft-ema and ft-mse, in diffusers' terms.
SD_VAE = {
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
    """What an autoencoder makes of an image, and FLOPs of an image either way; of pixels, with none, they are 0."""

    shape: tuple[int, int, int]  # of the latents
    posterior: bool
    encoding: int = 0
    decoding: int = 0


def autoencoder_size(name: str, resolution: int) -> tuple[AutoencoderSize, bool]:
    """The size of an autoencoder by its config.json, from a local folder or the hub's cache; nothing is downloaded.

    And whether it is known: where there is no config.json at hand, the SD-VAE's architecture is taken in its place.
    """
    import diffusers
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ..data.latents import AUTOENCODERS, encode_images

    config = _autoencoder_config(name)
    known = config is not None and config.get("_class_name") in AUTOENCODERS
    config = config if known else SD_VAE
    flops = []
    with torch.device("meta"), torch.no_grad():
        autoencoder = getattr(diffusers, config["_class_name"]).from_config(config)
        image = torch.empty(1, autoencoder.config.in_channels, resolution, resolution)
        with FlopCounterMode(display=False) as counter:
            mean, std = encode_images(autoencoder, image)
        flops.append(counter.get_total_flops())
        with FlopCounterMode(display=False) as counter:
            autoencoder.decode(mean)
        flops.append(counter.get_total_flops())
    return AutoencoderSize(tuple(mean.shape[1:]), std is not None, *flops), known


def _autoencoder_config(name: str) -> dict | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    path = Path(name, "config.json")
    if not path.is_file():
        try:
            path = try_to_load_from_cache(name, "config.json")
        except HFValidationError:
            return None
    return read_json(path) if isinstance(path, str | Path) else None


# Floating-point operations


def training_flops(size: ModelSize, training: Mapping, steps: int) -> int:
    """Of `steps` steps: forward and backward of each image of a batch."""
    return (1 + BACKWARD) * size.flops * training["batch_size"] * steps


def sampling_flops(size: ModelSize, protocol) -> int:
    """Of all images of an `experiment.Protocol`: a forward pass a step, two under guidance."""
    passes = 1 if protocol.guidance == 1 else 2
    return passes * size.flops * protocol.sampling_steps * protocol.count


def tracing_flops(size: ModelSize, tracing: Mapping, training: Mapping) -> int:
    """Of the forward passes at the start and at each traced snapshot."""
    moments = 1 + min(tracing["snapshots"], training["snapshots"])
    return size.flops * tracing["images"] * len(tracing["timesteps"]) * moments


# Bytes on disk


def latents_bytes(count: int, shape: tuple[int, int, int], pixels: bool, posterior: bool) -> int:
    """Of mean.npy, std.npy where there is a posterior, and labels.npy, for `count` images, mirrored ones among them."""
    return count * (math.prod(shape) * (1 if pixels else 4 if posterior else 2) + 8)


def snapshots_bytes(size: ModelSize, training: Mapping) -> int:
    """Of a finished run: a snapshot a width and time, the plain weights of the last step, and model.safetensors."""
    from ..experiment.schedule import snapshot_steps

    stored = (2 if training["snapshot_dtype"] == "float16" else 4) * size.matrices + 4 * size.vectors
    times = len(snapshot_steps(training["steps"], training["snapshots"]))
    return (times * len(training["ema_widths"]) + 1) * stored + 4 * size.parameters


def checkpoints_bytes(size: ModelSize, training: Mapping) -> int:
    """Of the checkpoints that a run keeps: weights, both moments of Adam, and EMAs, in float32."""
    from ..training.checkpoint import KEEP

    return KEEP * 4 * size.parameters * (3 + len(training["ema_widths"]))


def samples_bytes(count: int, resolution: int) -> int:
    """Of samples.npz: images uint8 (count, R, R, 3) and their labels."""
    return count * (3 * resolution**2 + 8)
