"""Stored pictures as square 8-bit crops: decoding, resizing and cropping.

Preprocessing is ADM's (Dhariwal & Nichol, arXiv 2105.05233, `image_datasets.py`), which DiT's and the paper's latents
and all published reference statistics are made with, and which is free of aliasing at any ratio: halve by box averaging
while the shorter side is at least twice the resolution, bring the shorter side to the resolution with Pillow's
antialiased bicubic filter, crop the center. Pictures that have the resolution already are left as they are.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FILTER = "box halvings, then bicubic"  # the preprocessing above, as manifests describe it
BACKGROUND = "white"  # behind transparent pictures


class Picture(NamedTuple):
    """One picture of a source."""

    name: str
    label: int
    crop: NDArray[np.uint8] | None  # (R, R, C); None for a broken picture
    broken: str | None  # the reason
    identity: str  # name, size and CRC-32 of the stored bytes: the same in a folder and in a zip of it


def resize_and_crop(image: Image.Image, resolution: int) -> Image.Image:
    """The center square of `image` at `resolution`, preprocessed as ADM does (see the module's docstring)."""
    while min(image.size) >= 2 * resolution:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = resolution / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    return image.crop((left, top, left + resolution, top + resolution))


def decode_picture(stored: bytes) -> Image.Image:
    """The upright 8-bit RGB picture in a file's bytes.

    EXIF orientation is applied, 16-bit grayscale scaled by 1/257, transparency composited on white; grayscale, palette
    and CMYK pictures are converted, color profiles ignored; of an animation the first frame is taken. Raises ValueError
    for values without a known white (32-bit integers beyond 16 bits, floats), and whatever Pillow raises on broken
    bytes.
    """
    with Image.open(io.BytesIO(stored)) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits (I;16), or 32 that hold 16 (I)
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integers have no known white")
        image = Image.fromarray(((values * 2 + 257) // 514).astype(np.uint8))  # x / 257, rounded
    if image.mode == "F":
        raise ValueError("floating-point pictures have no known white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image.convert("RGB")


def decode_digit(stored: bytes) -> Image.Image:
    """A digit of MNIST, 28x28 grayscale, from its raw bytes."""
    return Image.frombytes("L", (28, 28), stored)
