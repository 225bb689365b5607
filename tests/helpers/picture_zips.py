"""Zips of noisy pictures in two classes, and the data section that names them."""

import io
import zipfile

import numpy as np
from PIL import Image

from .digits import DIGITS


def make_zip(path, count=12, seed=0, broken=(), size=(20, 17)):
    """Classes cat and dog, `count` noisy pictures in all."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(buffer, "png")
            content = buffer.getvalue()[:100] if index in broken else buffer.getvalue()
            archive.writestr(f"{'cat' if index < count // 2 else 'dog'}/{index:04d}.png", content)
    return path


def data(path=None, **fields):
    pictures = {"source": "zip", "path": str(path)} if path else {}
    return DIGITS | {"name": "test"} | pictures | fields


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")
