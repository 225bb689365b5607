"""Autoencoders of diffusers: loading and identifying them, encoding crops, decoding latents.

Scaled latents are (z - shift_factor) * scaling_factor, with both factors from the autoencoder's config.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..experiment.autoencoder_config import AUTOENCODERS, downsampling
from ..experiment.records import AutoencoderRecord
from ..system.device import choose_device
from ..system.errors import UserError
from ..system.files import read_json

Autoencoder: TypeAlias = Any  # an nn.Module, one of AUTOENCODERS; diffusers annotates neither its config nor its output
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model-*.safetensors")  # whole, or in parts


def load_autoencoder(name: str, device: torch.device | str = "cpu") -> Autoencoder:
    """An AutoencoderKL or AutoencoderTiny from a local folder or a hub id: float32, frozen, in evaluation mode.

    A hub id is taken from the local cache where it is there, else downloaded. Only safetensors are read. Raises
    UserError where there is no such autoencoder, it cannot be downloaded, its class is another, or its weights do not
    fit it.
    """
    import diffusers  # slow to import, and not needed for pixels

    folder = _local_folder(name)
    config = read_json(folder / "config.json")
    class_name = config.get("_class_name") if isinstance(config, dict) else None
    if class_name not in AUTOENCODERS:
        raise UserError(
            f"{folder}/config.json: _class_name is {class_name!r}; expected one of {', '.join(AUTOENCODERS)}"
        )
    verbosity = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()  # it warns of what AutoencoderTiny itself writes into its config
    try:
        autoencoder, loading = getattr(diffusers, class_name).from_pretrained(
            folder, use_safetensors=True, low_cpu_mem_usage=False, torch_dtype=torch.float32, output_loading_info=True
        )
        problems = loading["missing_keys"] or loading["unexpected_keys"] or loading["error_msgs"]
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        problems = [" ".join(str(error).split())]
    finally:
        diffusers.utils.logging.set_verbosity(verbosity)
    if problems:
        raise UserError(
            f"autoencoder: {name}: weights cannot be loaded ({problems[0]}); "
            f"expected those of {class_name} in {WEIGHTS[0]}"
        )
    return autoencoder.requires_grad_(False).eval().to(device)


def _local_folder(name: str) -> Path:
    """The local folder of an autoencoder, downloaded from the hub into its cache where needed."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    patterns = ["config.json", "diffusion_pytorch_model.safetensors.index.json", *WEIGHTS]
    try:
        for cached_only in (True, False):
            try:
                folder = snapshot_download(name, allow_patterns=patterns, local_files_only=cached_only)
            except FileNotFoundError:  # not in the cache, or at the second attempt not on the hub either
                if not cached_only:
                    raise
                continue
            # Without weights in it, the cache holds a download that was cut short.
            if any(path for pattern in WEIGHTS for path in Path(folder).glob(pattern)):
                return Path(folder)
        problem = f"its hub repository has no {WEIGHTS[0]}"
    except HFValidationError:
        problem = "no such folder"
    except RepositoryNotFoundError:
        problem = "no such hub repository, or a private one"
    except (OSError, HfHubHTTPError) as error:
        problem = f"not in the local cache, and downloading it failed with {type(error).__name__} (offline?)"
    raise UserError(f"autoencoder: {name}: {problem}; expected a local folder or the id of a hub repository")


def describe_autoencoder(name: str, autoencoder: Autoencoder) -> AutoencoderRecord:
    """What the manifest says of the autoencoder loaded from `name`.

    `hash` is the SHA-256 over its tensors (name, shape, float32 bytes), sorted by name, so that the same weights have
    one hash whatever files they are stored in.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy()).data.cast("B") if tensor.numel() else b"")
    return AutoencoderRecord(
        id=name,
        class_name=type(autoencoder).__name__,
        hash=digest.hexdigest(),
        scaling_factor=float(autoencoder.config.scaling_factor),
        shift_factor=float(autoencoder.config.shift_factor or 0.0),
    )


def pixels_to_raw(pixels: Tensor) -> Tensor:
    """uint8 pixels -> float32 x / 127.5 - 1 in [-1, 1], of the same shape."""
    return pixels.float() / 127.5 - 1


@torch.no_grad()
def encode_images(autoencoder: Autoencoder, crops: Tensor) -> tuple[Tensor, Tensor | None]:
    """uint8 crops (B, C, R, R) -> mean and standard deviation of the scaled latents, each float32 (B, C', R', R').

    The standard deviation is None for an autoencoder without a posterior.
    """
    encoded = autoencoder.encode(pixels_to_raw(crops))
    scale, shift = autoencoder.config.scaling_factor, autoencoder.config.shift_factor or 0.0
    if hasattr(encoded, "latent_dist"):
        return (encoded.latent_dist.mean - shift) * scale, encoded.latent_dist.std * scale
    return (encoded.latents - shift) * scale, None


@torch.no_grad()
def decode_latents(autoencoder: Autoencoder, latents: Tensor) -> Tensor:
    """Scaled latents (B, C', R', R') -> images (B, C, R, R) in about [-1, 1]."""
    scale, shift = autoencoder.config.scaling_factor, autoencoder.config.shift_factor or 0.0
    return autoencoder.decode(latents / scale + shift).sample


# uint8 crops (B, R, R, C) and the pictures' names -> arrays to store: `mean` (B, C', H, W), and `std` if there is a
# posterior
CropEncoder = Callable[[NDArray[np.uint8], list[str]], dict[str, np.ndarray]]


def latents_encoder(
    name: str, resolution: int, channels: int, batch_size: int, device: str
) -> tuple[CropEncoder, AutoencoderRecord]:
    """A function that encodes crops by the autoencoder `name`, and what the manifest says of that autoencoder.

    The function takes at most `batch_size` uint8 crops (B, R, R, channels) and their names, and returns float16 arrays
    `mean` and, where there is a posterior, `std`, each (B, C', R', R'). Raises UserError for an autoencoder that does
    not fit the crops; the function does for latents beyond the range of float16.
    """
    chosen_device = choose_device(device)
    autoencoder = load_autoencoder(name, chosen_device)
    factor = downsampling(type(autoencoder).__name__, autoencoder.config)
    if factor is not None and resolution % factor:
        raise UserError(f"data.resolution: {resolution}: expected a multiple of {factor} for {name}")
    input_channels = autoencoder.config.in_channels
    if channels not in (1, input_channels):
        raise UserError(f"data.autoencoder: {name}: takes {input_channels} channels, but the images have {channels}")

    def encode_crops(crops: NDArray[np.uint8], names: list[str]) -> dict[str, np.ndarray]:
        padded = np.zeros((batch_size, *crops.shape[1:]), dtype=np.uint8)  # one batch size, for the same last bits
        padded[: len(crops)] = crops
        batch = torch.from_numpy(padded).to(chosen_device).permute(0, 3, 1, 2)
        encoded = encode_images(autoencoder, batch.expand(-1, input_channels, -1, -1))
        arrays = {
            key: latent[: len(crops)].half().cpu()
            for key, latent in zip(("mean", "std"), encoded, strict=True)
            if latent is not None
        }
        for latent in arrays.values():
            finite = latent.isfinite().flatten(1).all(1)
            if not finite.all():
                picture = names[int(finite.logical_not().nonzero()[0])]
                raise UserError(
                    f"data.autoencoder: {name}: latents of {picture} overflow float16, whose largest value is 65504"
                )
        return {key: latent.numpy() for key, latent in arrays.items()}

    return encode_crops, describe_autoencoder(name, autoencoder)
