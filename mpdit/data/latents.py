"""The latent store as training, sampling and scoring read it, and the autoencoders behind it.

A store is a folder that `mpdit encode` has finished: `mean.npy` (N, C, H, W), `std.npy` where the autoencoder has a
posterior, `labels.npy`, all memory-mapped, and `manifest.json`, which alone holds scale and statistics. Pixels are
stored as uint8; a *raw* value is a pixel in [-1, 1], or a scaled latent, (z - shift_factor) * scaling_factor, drawn
from its posterior. Models see *whitened* values: raw, less the channel mean, over the channel deviation of the mixture.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..system.errors import UserError
from ..system.files import read_json
from .pictures import images, open_source

__all__ = ["Latents", "images", "open_source", "to_raw"]

VERSION = 1
AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model-*.safetensors")  # whole, or in parts
DECODE_BATCH = 64  # images that an autoencoder decodes at once


class Latents:
    """A finished latent store, opened: arrays are memory maps, nothing is read before it is asked for.

    Attributes: `manifest` (dict), `shape` (C, H, W), `count` N, `classes`, `num_classes`, `fingerprint`, `mean`
    (N, C, H, W; uint8 for pixels, else float16), `std` (the same shape, float16, or None), `labels` (N,) int64.
    With flips, row 2i is a picture and row 2i + 1 its mirror image. UserError when the folder is not such a store.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "manifest.json").is_file():
            found = "no manifest.json" if self.folder.is_dir() else "no such folder"
            raise UserError(f"{folder}: {found}: must be a folder that `mpdit encode` has finished")
        self.manifest = read_json(self.folder / "manifest.json")
        try:
            version = self.manifest["version"]
            if version != VERSION:
                raise UserError(f"{folder}/manifest.json: version {version!r}: must be {VERSION}; encode again")
            self.shape = tuple(self.manifest["shape"])
            self.count = self.manifest["count"]
            self.classes = self.manifest["classes"]
            self.fingerprint = self.manifest["fingerprint"]
            self._channel_mean, self._channel_std = self.manifest["channel_mean"], self.manifest["channel_std"]
            dtype, posterior = self.manifest["dtype"], self.manifest["posterior"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{folder}/manifest.json: no {error}: must be written by `mpdit encode`") from None
        self.num_classes = len(self.classes)
        self.mean = self._open("mean.npy", dtype, (self.count, *self.shape))
        self.std = self._open("std.npy", dtype, (self.count, *self.shape)) if posterior else None
        self.labels = self._open("labels.npy", "int64", (self.count,))
        self._autoencoder: nn.Module | None = None

    def _open(self, name: str, dtype: str, shape: tuple[int, ...]) -> np.memmap:
        path = self.folder / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            found = getattr(error, "strerror", None) or error
            raise UserError(f"{path}: {found}: must be the array that `mpdit encode` has written") from None
        if array.dtype != np.dtype(dtype) or array.shape != shape:
            raise UserError(f"{path}: {array.dtype} {array.shape}: must be {dtype} {shape}, as manifest.json says")
        return array

    def whitening(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(offset, scale), each (C, 1, 1) float32: whitened = (raw - offset) / scale."""
        offset = torch.tensor(self._channel_mean, dtype=torch.float32, device=device)
        scale = torch.tensor(self._channel_std, dtype=torch.float32, device=device)
        return offset[:, None, None], scale[:, None, None]

    def batch(
        self, indices: Tensor, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Rows `indices` (B,) -> whitened (B, C, H, W) float32 and labels (B,) int64, on `device`.

        Where there is a posterior a sample is drawn from it with `generator` (on the generator's device); without a
        generator its mean is taken. Rows are read in the order of `indices`.
        """
        rows = indices.cpu().numpy()
        raw = to_raw(torch.from_numpy(self.mean[rows])).to(device)
        if self.std is not None and generator is not None:
            noise = torch.randn(raw.shape, generator=generator, device=generator.device).to(device)
            raw = raw + torch.from_numpy(self.std[rows]).to(device).float() * noise
        offset, scale = self.whitening(device)
        return (raw - offset) / scale, torch.from_numpy(self.labels[rows]).to(device)

    @torch.no_grad()
    def decode(self, x: Tensor, autoencoder: nn.Module | None = None) -> Tensor:
        """Whitened (B, C, H, W) -> uint8 images (B, R, R, 3) on the same device: rounded to nearest, clipped.

        Greyscale is repeated to three channels. Without `autoencoder` the manifest's is loaded, once.
        """
        offset, scale = self.whitening(x.device)
        raw = x.float() * scale + offset
        if self.manifest["autoencoder"] is not None:
            autoencoder = self.load_autoencoder(x.device) if autoencoder is None else autoencoder
            raw = torch.cat([decode_latents(autoencoder, part) for part in raw.split(DECODE_BATCH)])
        pixels = ((raw + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)  # (B, C, R, R)
        return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()

    def load_autoencoder(self, device: torch.device | str = "cpu") -> nn.Module | None:
        """The manifest's autoencoder on `device`, loaded once; None for pixels. UserError if its weights changed."""
        stored = self.manifest["autoencoder"]
        if stored is None:
            return None
        if self._autoencoder is None:
            autoencoder = load_autoencoder(stored["id"])
            found = describe_autoencoder(stored["id"], autoencoder)["hash"]
            if found != stored["hash"]:
                raise UserError(
                    f"{stored['id']}: weights {found[:12]}: must be those that {self.folder} was encoded with, "
                    f"{stored['hash'][:12]}"
                )
            self._autoencoder = autoencoder
        return self._autoencoder.to(device)


def to_raw(stored: Tensor) -> Tensor:
    """Stored values -> raw float32: uint8 pixels to x / 127.5 - 1 in [-1, 1], latents as they are."""
    return stored.float() / 127.5 - 1 if stored.dtype == torch.uint8 else stored.float()


# Autoencoders


def load_autoencoder(name: str, device: torch.device | str = "cpu") -> nn.Module:
    """diffusers' AutoencoderKL or AutoencoderTiny from a local folder or a hub id: float32, frozen, in evaluation mode.

    A hub id that is in the local cache is taken from there. Only safetensors are read. UserError when there is no such
    autoencoder, it can't be had offline, its class is another, or its weights don't fit it.
    """
    import diffusers  # slow to import, and not needed for pixels

    folder = _autoencoder_folder(name)
    config = read_json(folder / "config.json")
    kind = config.get("_class_name") if isinstance(config, dict) else None
    if kind not in AUTOENCODERS:
        raise UserError(f"{folder}/config.json: _class_name {kind!r}: must be one of {', '.join(AUTOENCODERS)}")
    verbosity = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()  # it warns of what AutoencoderTiny itself writes into its config
    try:
        autoencoder, loading = getattr(diffusers, kind).from_pretrained(
            folder, use_safetensors=True, low_cpu_mem_usage=False, torch_dtype=torch.float32, output_loading_info=True
        )
        problems = loading["missing_keys"] or loading["unexpected_keys"] or loading["error_msgs"]
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        problems = [" ".join(str(error).split())]
    finally:
        diffusers.utils.logging.set_verbosity(verbosity)
    if problems:
        raise UserError(f"autoencoder: {name}: weights don't load ({problems[0]}): must be a {kind} in {WEIGHTS[0]}")
    return autoencoder.requires_grad_(False).eval().to(device)


def _autoencoder_folder(name: str) -> Path:
    """The local folder of an autoencoder; from the hub into its cache where needed."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    files = ["config.json", "diffusion_pytorch_model.safetensors.index.json", *WEIGHTS]
    try:
        for cached in (True, False):
            try:
                folder = snapshot_download(name, allow_patterns=files, local_files_only=cached)
            except FileNotFoundError:  # not in the cache; the second time: nor to be had
                if not cached:
                    raise
                continue
            if any(path for pattern in WEIGHTS for path in Path(folder).glob(pattern)):  # else a download was cut short
                return Path(folder)
        problem = f"the hub has no {WEIGHTS[0]} there"
    except HFValidationError:
        problem = "no such folder"
    except RepositoryNotFoundError:
        problem = "the hub has no such repository, or keeps it private"
    except (OSError, HfHubHTTPError) as error:
        problem = f"not in the local cache, and the hub gave {type(error).__name__}; offline?"
    raise UserError(f"autoencoder: {name}: {problem}: must be a local folder or a hub id that can be reached")


def describe_autoencoder(name: str, autoencoder: nn.Module) -> dict:
    """What the manifest says of an autoencoder. `hash`: sha256 over its tensors (name, shape, float32 bytes), sorted by
    name, so that the same weights have one hash however they are filed."""
    digest = hashlib.sha256()
    for key, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy()).data.cast("B") if tensor.numel() else b"")
    return {
        "id": name,
        "class": type(autoencoder).__name__,
        "hash": digest.hexdigest(),
        "scaling_factor": float(autoencoder.config.scaling_factor),
        "shift_factor": float(autoencoder.config.shift_factor or 0.0),
    }


def downsampling(autoencoder: nn.Module) -> int:
    """Pixels per latent, along each side."""
    config = autoencoder.config
    blocks = (
        config.block_out_channels if "Tiny" not in type(autoencoder).__name__ else config.encoder_block_out_channels
    )
    return 2 ** (len(blocks) - 1)


@torch.no_grad()
def encode_images(autoencoder: nn.Module, crops: Tensor) -> tuple[Tensor, Tensor | None]:
    """uint8 crops (B, C, R, R) -> float32 mean and standard deviation (None without a posterior) of the scaled latents,
    each (B, C', R', R')."""
    encoded = autoencoder.encode(to_raw(crops))
    scale, shift = autoencoder.config.scaling_factor, autoencoder.config.shift_factor or 0.0
    if hasattr(encoded, "latent_dist"):
        return (encoded.latent_dist.mean - shift) * scale, encoded.latent_dist.std * scale
    return (encoded.latents - shift) * scale, None


@torch.no_grad()
def decode_latents(autoencoder: nn.Module, latents: Tensor) -> Tensor:
    """Scaled latents (B, C', R', R') -> images in about [-1, 1], (B, C, R, R)."""
    scale, shift = autoencoder.config.scaling_factor, autoencoder.config.shift_factor or 0.0
    return autoencoder.decode(latents / scale + shift).sample
