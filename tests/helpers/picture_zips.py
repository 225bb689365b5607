"""Zips of noise pictures in two classes, and the data section that names them."""

import io
import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mpdit.experiment.parse import parse_data
from mpdit.experiment.schema import Data


def write_noise_zip(
    path: Path, count: int = 12, seed: int = 0, broken: Container[int] = (), size: tuple[int, int] = (20, 17)
) -> Path:
    """A zip of `count` noise pictures of the classes cat and dog; those at the indices `broken` are cut short."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(buffer, "png")
            content = buffer.getvalue()[:100] if index in broken else buffer.getvalue()
            archive.writestr(f"{'cat' if index < count // 2 else 'dog'}/{index:04d}.png", content)
    return path


def zip_data(path: Path, **fields: Any) -> Data:
    """The data section of a zip, at 8 pixels unless `fields` say otherwise."""
    return parse_data({"name": "test", "source": "zip", "path": str(path), "resolution": 8, **fields})


def file_names(folder: Path) -> list[str]:
    """The names of all files in a folder but the lock, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")
