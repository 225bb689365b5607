"""Encoded data as training, sampling and scoring read it: a latents folder, opened.

A latents folder is what `mpdit encode` writes: `mean.npy` (N, C, H, W), `std.npy` where the autoencoder has a
posterior, `labels.npy`, all memory-mapped, and `manifest.json`, the only place that holds scale and statistics. Pixels
are stored as uint8. A *raw* value is a pixel in [-1, 1], or a scaled latent, (z - shift_factor) * scaling_factor,
sampled from its posterior. Models see *whitened* values: raw, minus the channel mean, divided by the channel's standard
deviation over the mixture of posteriors.
"""

import math
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..experiment.records import Manifest
from ..experiment.remedies import remedy
from ..experiment.run_files import LABELS, MANIFEST, MEAN, STD
from ..system.errors import UserError, in_one_line, reason
from ..system.seals import require_array_intact
from .autoencoder import Autoencoder, decode_latents, describe_autoencoder, load_autoencoder, pixels_to_raw
from .latents_writer import FORMAT_VERSION

DECODE_BATCH = 64  # latents that an autoencoder decodes at once


class Latents:
    """An opened latents folder; its arrays are memory maps, which are compared with their seals when first used.

    Attributes: `manifest`, `shape` (C, H, W), `count` N, `classes`, `num_classes`, `fingerprint`, `mean`
    (N, C, H, W; uint8 for pixels, else float16), `std` (the same shape, float16, or None), `labels` (N,) int64.
    With flips, row 2i is a picture and row 2i + 1 its mirror image. Raises UserError where the folder is missing,
    unfinished or damaged, when it is opened or when an array is first used.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            problem = "no manifest.json" if self.folder.is_dir() else "no such folder"
            raise UserError(f"{folder}: {problem}; expected a folder that `mpdit encode` has finished")
        self.manifest = Manifest.read(self.folder / MANIFEST)
        if self.manifest.version != FORMAT_VERSION:
            raise UserError(
                f"{folder}/manifest.json: version is {self.manifest.version}, expected {FORMAT_VERSION}; encode again"
            )
        channels, height, width = self.manifest.shape
        self.shape = (channels, height, width)
        self.count, self.classes = self.manifest.count, self.manifest.classes
        self.fingerprint = self.manifest.fingerprint
        dtype = self.manifest.dtype
        self.num_classes = len(self.classes)
        self._mean = self._open(MEAN, dtype, (self.count, *self.shape))
        self._std = self._open(STD, dtype, (self.count, *self.shape)) if self.manifest.posterior else None
        self._labels = self._open(LABELS, "int64", (self.count,))
        self._check_statistics()
        self._autoencoder: Autoencoder | None = None

    @cached_property
    def mean(self) -> np.memmap:
        return self._intact(MEAN, self._mean)

    @cached_property
    def std(self) -> np.memmap | None:
        return None if self._std is None else self._intact(STD, self._std)

    @cached_property
    def labels(self) -> np.memmap:
        labels = self._intact(LABELS, self._labels)
        if self.count and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise UserError(
                f"{self.folder / LABELS}: labels are {labels.min()} to {labels.max()}; expected 0 to "
                f"{self.num_classes - 1}; encode again"
            )
        return labels

    def _intact(self, name: str, array: np.memmap) -> np.memmap:
        """The array, once its file has been compared with its seal."""
        path = self.folder / name
        require_array_intact(path, self.manifest.seals.get(name), remedy(path))
        return array

    def _open(self, name: str, dtype: str, shape: tuple[int, ...]) -> np.memmap:
        path = self.folder / name
        try:
            array = np.lib.format.open_memmap(path, mode="r")
        except OSError as error:
            raise UserError(f"{in_one_line(error, path)}; expected the array that `mpdit encode` wrote") from None
        except Exception as error:  # numpy raises nearly anything on a damaged header
            problem = reason(error)[:200]
            raise UserError(f"{path}: {problem}; expected the array that `mpdit encode` wrote") from None
        if str(array.dtype) != dtype or array.shape != shape:
            raise UserError(f"{path}: holds {array.dtype} {array.shape}, but manifest.json says {dtype} {shape}")
        return array

    def _check_statistics(self) -> None:
        """Raise UserError for statistics that nothing can be whitened with."""
        for name, smallest in (("channel_mean", -math.inf), ("channel_std", 0)):
            values = getattr(self.manifest, name)
            if len(values) != self.shape[0] or not all(smallest < value < math.inf for value in values):
                above = "" if smallest else " above 0"
                raise UserError(
                    f"{self.folder / MANIFEST}: {name}: expected a finite number{above} for each of {self.shape[0]} "
                    f"channels, got {list(values)}; encode again"
                )

    def whitening(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(offset, scale), each (C, 1, 1) float32: whitened = (raw - offset) / scale."""
        offset = torch.tensor(self.manifest.channel_mean, dtype=torch.float32, device=device)
        scale = torch.tensor(self.manifest.channel_std, dtype=torch.float32, device=device)
        return offset[:, None, None], scale[:, None, None]

    def batch(
        self, indices: Tensor, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Rows `indices` (B,) as whitened (B, C, H, W) float32 and labels (B,) int64, on `device`,
        in the order of `indices`.

        Where there is a posterior, latents are sampled from it with `generator`, on the generator's device; without a
        generator they are its mean.
        """
        rows = indices.cpu().numpy()
        raw = to_raw(torch.from_numpy(self.mean[rows])).to(device)
        if self.std is not None and generator is not None:
            noise = torch.randn(raw.shape, generator=generator, device=generator.device).to(device)
            raw = raw + torch.from_numpy(self.std[rows]).to(device).float() * noise
        offset, scale = self.whitening(device)
        return (raw - offset) / scale, torch.from_numpy(self.labels[rows]).to(device)

    @torch.no_grad()
    def decode(self, x: Tensor, autoencoder: Autoencoder | None = None) -> Tensor:
        """Images, uint8 (B, R, R, 3) on the same device, of whitened values (B, C, H, W): rounded to nearest, clipped.

        Grayscale is repeated to three channels. Without `autoencoder` the manifest's is loaded, once.
        """
        offset, scale = self.whitening(x.device)
        raw = x.float() * scale + offset
        if self.manifest.autoencoder is not None:
            autoencoder = self.load_autoencoder(x.device) if autoencoder is None else autoencoder
            raw = torch.cat([decode_latents(autoencoder, part) for part in raw.split(DECODE_BATCH)])
        pixels = ((raw + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)  # (B, C, R, R)
        return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()

    def load_autoencoder(self, device: torch.device | str = "cpu") -> Autoencoder | None:
        """The manifest's autoencoder on `device`, loaded once; None for pixels.

        Raises UserError if its weights are not those that the images were encoded with.
        """
        stored = self.manifest.autoencoder
        if stored is None:
            return None
        if self._autoencoder is None:
            autoencoder = load_autoencoder(stored.id)
            weights_hash = describe_autoencoder(stored.id, autoencoder).hash
            if weights_hash != stored.hash:
                raise UserError(
                    f"autoencoder: {stored.id}: the hash of its weights is {weights_hash[:12]}, but {self.folder} "
                    f"was encoded with weights {stored.hash[:12]}"
                )
            self._autoencoder = autoencoder
        return self._autoencoder.to(device)


def to_raw(stored: Tensor) -> Tensor:
    """Raw float32 values of stored ones: uint8 pixels become x / 127.5 - 1 in [-1, 1], latents stay as they are."""
    return pixels_to_raw(stored) if stored.dtype == torch.uint8 else stored.float()
