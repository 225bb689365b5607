"""Feature extractors for the metrics: images -> features.

`efficientnet-lite0` is built in; `inception` is torch-fidelity's InceptionV3, the network of published FIDs.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..experiment.features import FEATURES
from ..system.device import choose_device
from ..system.errors import UserError

BATCH_SIZE = {"cpu": 16, "cuda": 256}  # on the CPU a small batch stays in the cache and is the fastest

Weights = dict[str, Tensor]


def _efficientnet_lite0(weights: str | Path | None) -> tuple[nn.Module, Weights]:
    from .efficientnet_lite import EfficientNetLite0, bundled_weights

    if weights is not None:
        raise UserError(f"weights: {weights}: must be left out with efficientnet-lite0, which brings its own")
    return EfficientNetLite0(), bundled_weights()


def _inception(weights: str | Path | None) -> tuple[nn.Module, Weights]:
    from .inception import Inception, inception_weights  # loads torch-fidelity

    state = inception_weights(weights)
    return Inception(state, weights), state


class Network(NamedTuple):
    """How a network is loaded, and its weights: uint8 (N, 3, H, W) -> (N, D)."""

    load: Callable[[str | Path | None], tuple[nn.Module, Weights]]
    preparation: str  # of images, in words: part of the features' hash


NETWORKS = {  # by the names that FEATURES gives them
    "efficientnet-lite0": Network(_efficientnet_lite0, "bilinear, antialiased, to 96; (x - 127) / 128; pooled, 1280"),
    "inception": Network(_inception, "torch-fidelity inception-v3-compat, 2048"),
}


@dataclass(frozen=True)
class Extractor:
    """A network whose features are compared. Call it on images: uint8 (N, H, W, 3) -> float32 (N, D).

    It gives the features of the network. Where those that are compared are a projection of them (`FEATURES`), the
    reference holds it.
    """

    name: str  # a key of NETWORKS, or the features of a study
    hash: str  # 16 hex digits of a SHA-256 over the weights and the preparation of images
    network: nn.Module
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)  # (N, 3, H, W)
        features: Tensor = self.network(x)
        if features.shape != (len(images), self.dimension):
            raise UserError(
                f"features {self.name!r}: {len(images)} images give values of shape {tuple(features.shape)}: must be "
                f"{(len(images), self.dimension)}"
            )
        return features.float().cpu().numpy()

    @property
    def dimension(self) -> int:
        """The number of features of an image, D."""
        return FEATURES[self.name].dimension

    def batches(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Features (B, D) of a stream of images (H, W, 3) of one size, in order, one batch at a time."""
        images = iter(images)
        while batch := list(islice(images, BATCH_SIZE[self.device.type])):
            yield self(np.stack(batch))


def load_extractor(name: str, weights: str | Path | None = None, device: str = "auto") -> Extractor:
    """The network of the features `name`, a key of FEATURES, on `device` (auto, cpu or cuda; see `choose_device`).

    `weights` are Inception's, a .pth file in torch-fidelity's conversion; without one they are downloaded once, to
    torch's cache. On CUDA convolutions are kept in full float32 (no TF32, in the whole process), so that scores from
    different machines compare. Raises UserError if the weights are unavailable or belong to another network.
    """
    if name not in FEATURES:
        raise UserError(f"features: {name!r}: must be one of {', '.join(sorted(FEATURES))}")
    name, own = FEATURES[name].network, FEATURES[name].load
    chosen = choose_device(device)
    if own is not None:
        network: nn.Module = own()
        state, preparation = network.state_dict(), f"{name}, version {FEATURES[name].version}"
    else:
        network, state = NETWORKS[name].load(weights)
        preparation = NETWORKS[name].preparation
    torch.backends.cudnn.allow_tf32 = False
    return Extractor(name, features_hash(state, preparation), network.eval().to(chosen), chosen)


def features_hash(state: dict[str, Tensor], preparation: str) -> str:
    """16 hex digits that change with any weight, its name, its shape or dtype, and with the preparation of images."""
    digest = hashlib.sha256(preparation.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
