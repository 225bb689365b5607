"""The picture that shows a run's first samples: one class per column."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 16, 10
PICTURE_SIZE = 64  # pixels: smaller images are enlarged by the largest whole factor that stays within this size
GAP = 2  # pixels between pictures


def position_in_grid(index: int, num_classes: int) -> tuple[int, int] | None:
    """(row, column) of image `index`, whose class is `index` mod `num_classes`; None if the grid has no room for it."""
    row, column = divmod(index, num_classes)
    return (row, column) if row < ROWS and column < COLUMNS else None


def image_grid(images: Mapping[tuple[int, int], NDArray[np.uint8]]) -> Image.Image:
    """One picture of images, uint8 (H, W, 3), placed by (row, column); small ones are enlarged pixel by pixel."""
    rows, columns = (max(position[axis] for position in images) + 1 for axis in (0, 1))
    size = len(images[0, 0])
    factor = max(1, PICTURE_SIZE // size)
    pitch = size * factor + GAP
    canvas = np.full((rows * pitch + GAP, columns * pitch + GAP, 3), 255, dtype=np.uint8)
    for (row, column), image in images.items():
        enlarged = image.repeat(factor, 0).repeat(factor, 1)
        y, x = GAP + row * pitch, GAP + column * pitch
        canvas[y : y + size * factor, x : x + size * factor] = enlarged
    return Image.fromarray(canvas)


def text_picture(text: str) -> Image.Image:
    """A small picture of one line of text."""
    font = ImageFont.load_default(16)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("RGB", (round(right - left) + 32, round(bottom - top) + 32), "white")
    ImageDraw.Draw(picture).text((16 - left, 16 - top), text, fill="black", font=font)
    return picture
