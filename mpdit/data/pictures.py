"""Stored pictures as square 8-bit crops: decoding, resizing and cropping.

Preprocessing is ADM's (Dhariwal & Nichol, arXiv 2105.05233, `image_datasets.py`), which DiT's and the paper's latents
and all published reference statistics are made with, and which is free of aliasing at any ratio: halve by box averaging
while the shorter side is at least twice the resolution, bring the shorter side to the resolution with Pillow's
antialiased bicubic filter, crop the center. Pictures that have the resolution already are left as they are.

A picture costs no more memory than what is stated here: it is decoded only by the formats of FORMATS, it has at most
LARGEST_AREA pixels, which take up to 3 GB, and what a crop needs of a longer strip than LONGEST_STRIP is cut out first.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FILTER = "box halvings, then bicubic"  # the preprocessing above, as manifests describe it
BACKGROUND = "white"  # behind transparent pictures
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow knows more, among them some that run programs
LARGEST_AREA = 178_956_970  # pixels: Pillow's own limit, unless a library has changed it
LONGEST_STRIP = 32  # times the shorter side; a longer one would be resized to no end for the sake of its center
BAND = 2**22  # pixels that are converted at once

WHITE_16_BITS = 65535
TO_8_BITS = ((np.arange(WHITE_16_BITS + 1) * 2 + 257) // 514).astype(np.uint8)  # x / 257, rounded


class Picture(NamedTuple):
    """One picture of a source."""

    name: str
    label: int
    crop: NDArray[np.uint8] | None  # (R, R, C); None for a broken picture
    broken: str | None  # the reason
    identity: str  # name, size and CRC-32 of the stored bytes: the same in a folder and in a zip of it


def resize_and_crop(image: Image.Image, resolution: int) -> Image.Image:
    """The center square of `image` at `resolution`, preprocessed as ADM does (see the module's docstring)."""
    longest = LONGEST_STRIP * min(image.size)
    if max(image.size) > longest:
        width, height = (min(side, longest) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
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
    for values without a known white (32-bit integers beyond 16 bits, floats) and for more than LARGEST_AREA pixels, and
    whatever Pillow raises on broken bytes.
    """
    with Image.open(io.BytesIO(stored), formats=FORMATS) as opened:
        if opened.width * opened.height > LARGEST_AREA:
            raise ValueError(f"{opened.width} x {opened.height} pixels; at most {LARGEST_AREA:,} are read")
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)
        image: Image.Image = opened
    if image.mode.startswith("I"):  # 16 bits (I;16), or 32 that hold 16 (I)
        image = _in_bands(image, "L", _scaled_to_8_bits)
    if image.mode == "F":
        raise ValueError("floating-point pictures have no known white")
    if image.has_transparency_data:
        return _in_bands(image, "RGB", _on_background)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_bands(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """`image` in another mode, a band of rows at a time, so that intermediate values take little memory."""
    converted, rows = Image.new(mode, image.size), max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        converted.paste(convert(image.crop(box)), box)
    return converted


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > WHITE_16_BITS:
        raise ValueError("32-bit integers have no known white")
    return Image.fromarray(TO_8_BITS[values])


def _on_background(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")


def decode_digit(stored: bytes) -> Image.Image:
    """A digit of MNIST, 28x28 grayscale, from its raw bytes."""
    return Image.frombytes("L", (28, 28), stored)
