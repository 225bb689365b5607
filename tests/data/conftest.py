"""Digits encoded by autoencoders, shared by the tests of latents and of autoencoders."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.autoencoders import save_autoencoder
from helpers.digits import DIGITS, some_digits

from mpdit.data.encode import encode
from mpdit.data.latents import Latents


class EncodedDigits(NamedTuple):
    class_name: str  # of the autoencoder
    latents: Latents  # of 40 digits at 16x16 and their mirror images
    crops: torch.Tensor  # the digits, uint8 (40, 1, 16, 16)


@pytest.fixture(scope="module", params=["AutoencoderKL", "AutoencoderTiny"])
def encoded_digits(request, tmp_path_factory) -> EncodedDigits:
    folder = tmp_path_factory.mktemp(request.param)
    autoencoder = save_autoencoder(folder / "vae", request.param)
    digits = some_digits(40)
    data = DIGITS.model_copy(update={"resolution": 16, "autoencoder": autoencoder, "flips": "both"})
    encode(digits, data, folder / "latents", device="cpu")
    crops = np.stack([digits.picture(index, 16).crop for index in range(40)])
    return EncodedDigits(request.param, Latents(folder / "latents"), torch.from_numpy(crops).permute(0, 3, 1, 2))
