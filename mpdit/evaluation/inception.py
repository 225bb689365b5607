"""torch-fidelity's InceptionV3, the network of published FIDs; its weights are read or downloaded, never unpickled.

A module of its own because torch-fidelity is slow to import, and other features do without it.
"""

import io
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from ..system.errors import UserError


class Inception(nn.Module):
    """The 2048 pooled features of uint8 images (N, 3, H, W). UserError where `state` is of another network."""

    def __init__(self, state: dict[str, Tensor], source: str | Path | None) -> None:
        """`source` is where the tensors come from, for the message; None: downloaded."""
        super().__init__()
        try:
            self.network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=as_file(state)
            )
        except RuntimeError:  # names or shapes of tensors
            raise UserError(
                f"weights: {source or 'downloaded'}: of another network: must be a copy of {URL_INCEPTION_V3}"
            ) from None
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        (features,) = self.network(images)
        return features


def inception_weights(path: str | Path | None) -> dict[str, Tensor]:
    """The tensors of a .pth file in torch-fidelity's conversion; without a path, of its download in torch's cache.

    Raises UserError if the file is missing, holds anything but tensors, or cannot be downloaded.
    """
    if path is None:
        try:
            return torch.hub.load_state_dict_from_url(
                URL_INCEPTION_V3, map_location="cpu", check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError) as error:  # no network, or a file with other content than its name tells
            raise UserError(
                f"features: inception: its weights could not be downloaded ({error}); pass --weights FILE, a copy of "
                f"{URL_INCEPTION_V3}"
            ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"weights: {path}: no such file: must be a copy of {URL_INCEPTION_V3}") from None
    except MemoryError:
        raise
    except Exception:  # the unpickler raises nearly anything on content that it does not know
        state = None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"weights: {path}: not a file of tensors: must be a copy of {URL_INCEPTION_V3}")
    return state


def as_file(state: dict[str, Tensor]) -> io.BytesIO:
    """A file in memory with these tensors and nothing else, for torch-fidelity, which unpickles what it is given."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file
