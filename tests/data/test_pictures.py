"""Decoding pictures of any mode and orientation, and resizing and cropping them."""

import io
import re

import numpy as np
import pytest
from helpers.limits import spare_memory
from helpers.source_tree import module_files
from PIL import Image, UnidentifiedImageError

from mpdit.data import pictures
from mpdit.data.pictures import decode_picture, resize_and_crop

RNG = np.random.default_rng(0)
PATTERN = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)  # without symmetry, so that every orientation differs


def stored(image: Image.Image, suffix="png", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix), **options)
    return buffer.getvalue()


def one_color(mode: str, value, **options) -> bytes:
    return stored(Image.new(mode, (4, 4), value), **options)


# Decoding

PALETTE = Image.new("P", (4, 4), 1)
PALETTE.putpalette([0, 0, 0, 10, 20, 30])


@pytest.mark.parametrize(
    ("content", "expected", "tolerance"),
    [
        (one_color("RGB", (10, 20, 30)), (10, 20, 30), 0),
        (one_color("L", 77), (77, 77, 77), 0),
        (one_color("1", 1), (255, 255, 255), 0),
        (stored(PALETTE), (10, 20, 30), 0),
        (stored(PALETTE, "gif"), (10, 20, 30), 0),
        (one_color("L", 77, suffix="jpg"), (77, 77, 77), 1),
        (one_color("YCbCr", (77, 128, 128), suffix="jpg"), (77, 77, 77), 1),
        (one_color("CMYK", (0, 0, 0, 0), suffix="jpg"), (255, 255, 255), 1),  # no ink on white paper
        (one_color("CMYK", (255, 0, 0, 0), suffix="tif"), (0, 255, 255), 1),
        (one_color("RGBA", (255, 0, 0, 255)), (255, 0, 0), 0),
        (one_color("RGBA", (255, 0, 0, 0)), (255, 255, 255), 0),  # the documented background
        (one_color("RGBA", (0, 0, 0, 51)), (204, 204, 204), 0),
        (one_color("LA", (0, 51)), (204, 204, 204), 0),
        (stored(PALETTE, transparency=1), (255, 255, 255), 0),
        (one_color("L", 77, transparency=77), (255, 255, 255), 0),
        (one_color("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255), 0),
        (one_color("I;16", 32896), (128, 128, 128), 0),  # 128 * 257: scaled, not clipped
        (one_color("I;16", 65535, suffix="tif"), (255, 255, 255), 0),
        (one_color("I", 25700, suffix="tif"), (100, 100, 100), 0),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_every_mode_becomes_rgb(content, expected, tolerance):
    image = decode_picture(content)
    assert (image.mode, image.size) == ("RGB", (4, 4))
    assert np.abs(np.asarray(image).astype(int) - expected).max() <= tolerance


def test_sixteen_bits_are_scaled_over_the_whole_range():
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    decoded = np.asarray(decode_picture(stored(Image.fromarray(ramp))))[..., 0]
    assert np.array_equal(decoded, np.round(ramp / 257))


@pytest.mark.parametrize("image", [Image.new("F", (4, 4), 0.5), Image.new("I", (4, 4), 70_000)])
def test_values_without_a_known_white_are_refused(image):
    with pytest.raises(ValueError, match="no known white"):
        decode_picture(stored(image, "tif"))


@pytest.mark.parametrize(
    ("orientation", "transpose"),  # EXIF 2.3, tag 0x0112; how a camera with this orientation stores an upright picture
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_applied(orientation, transpose):
    upright = Image.fromarray(PATTERN)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(upright if transpose is None else upright.transpose(transpose), exif=exif)
    assert np.array_equal(np.asarray(decode_picture(content)), PATTERN)


@pytest.mark.parametrize(("suffix", "mode"), [("eps", "RGB"), ("ico", "RGBA"), ("pcx", "L"), ("tga", "RGB")])
def test_formats_that_are_not_meant_are_not_opened(monkeypatch, suffix, mode):
    content = stored(Image.new(mode, (16, 16)), suffix)
    monkeypatch.setattr("subprocess.check_call", None)  # Pillow hands PostScript to Ghostscript
    with pytest.raises(UnidentifiedImageError):
        decode_picture(content)


def test_pictures_are_opened_in_one_place():
    opening = {name for name, path in module_files().items() if re.search(r"Image\.open\(|imread\(", path.read_text())}
    assert opening == {"mpdit.data.pictures"}


def test_a_picture_of_more_pixels_than_are_read_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST_AREA", 99)
    with pytest.raises(ValueError, match="10 x 10 pixels; at most 99 are read"):
        decode_picture(stored(Image.new("L", (10, 10)), "bmp")[:-50])
    assert decode_picture(stored(Image.new("L", (11, 9)))).size == (11, 9)


@pytest.mark.parametrize("image", [Image.new("I;16", (3, 50)), Image.new("RGBA", (3, 50))], ids=["I;16", "RGBA"])
def test_bands_of_rows_make_the_same_picture(monkeypatch, image):
    values = RNG.integers(0, 256, len(image.tobytes()), dtype=np.uint8)
    content = stored(Image.frombytes(image.mode, image.size, values.tobytes()))
    whole = np.asarray(decode_picture(content))
    monkeypatch.setattr(pictures, "BAND", 20)  # pixels: 6 rows
    assert np.array_equal(np.asarray(decode_picture(content)), whole)


# Resizing and cropping


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (8, 31), (100, 70), (7, 3), (641, 479)])
def test_any_size_becomes_a_square(size):
    crop = resize_and_crop(Image.new("RGB", size, (9, 99, 199)), 8)
    assert crop.size == (8, 8)
    assert np.array_equal(np.unique(np.asarray(crop).reshape(-1, 3), axis=0), [[9, 99, 199]])


def test_pictures_at_the_resolution_are_left_as_they_are():
    image = Image.fromarray(PATTERN[:, :6])
    assert np.array_equal(np.asarray(resize_and_crop(image, 6)), PATTERN[:, :6])


def test_the_shorter_side_is_resized_and_the_center_kept():
    striped = np.zeros((20, 60, 3), dtype=np.uint8)
    striped[:, 20:40] = 200  # the center square
    assert (np.asarray(resize_and_crop(Image.fromarray(striped), 20)) == 200).all()
    assert (np.asarray(resize_and_crop(Image.fromarray(striped.transpose(1, 0, 2)), 20)) == 200).all()
    assert (np.asarray(resize_and_crop(Image.fromarray(striped), 10)) == 200)[:, 1:-1].all()


def resize_the_whole_then_crop(image: Image.Image, resolution: int) -> Image.Image:
    """What `resize_and_crop` does, as ADM writes it, whatever it costs."""
    while min(image.size) >= 2 * resolution:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = resolution / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    return image.crop((left, top, left + resolution, top + resolution))


@pytest.mark.parametrize("size", [(40, 30), (31, 97), (200, 7), (11, 352), (3, 96)])
@pytest.mark.parametrize("resolution", [8, 13])
def test_up_to_32_times_as_long_as_wide_the_crop_is_that_of_the_whole_bit_by_bit(size, resolution):
    image = Image.fromarray(RNG.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    assert np.array_equal(resize_and_crop(image, resolution), resize_the_whole_then_crop(image, resolution))


def test_of_a_longer_strip_the_center_is_resized_alone():
    ramp = Image.fromarray(np.linspace(0, 255, 500).astype(np.uint8).repeat(5).reshape(500, 5).T)  # 500 x 5
    for image in (ramp, ramp.transpose(Image.Transpose.TRANSPOSE)):
        crop, whole = (np.asarray(resize(image, 12), int) for resize in (resize_and_crop, resize_the_whole_then_crop))
        assert np.abs(crop - whole).max() <= 1


@pytest.mark.parametrize("size", [(1, 65_500), (65_500, 1), (2, 65_500)])
def test_a_strip_costs_no_more_memory_than_its_crop(size):
    image = Image.new("RGB", size, (9, 99, 199))
    with spare_memory(2**28):  # 256 MB; the whole strip would take 4 GB and more
        crop = resize_and_crop(image, 256)
    assert np.array_equal(np.unique(np.asarray(crop).reshape(-1, 3), axis=0), [[9, 99, 199]])


def test_halving_takes_the_mean_of_four_pixels():
    values = RNG.integers(0, 256, (28, 28), dtype=np.uint8)
    means = values.reshape(14, 2, 14, 2).mean(axis=(1, 3))
    halved = np.asarray(resize_and_crop(Image.fromarray(values), 14))
    assert np.abs(halved - means).max() <= 1  # Pillow rounds twice: rows, then columns


@pytest.mark.parametrize("resolution", [8, 12, 16, 28, 60])
def test_resizing_does_not_alias(resolution):
    board = np.indices((100, 100)).sum(axis=0) % 2 * 255  # a checkerboard, plain gray at any lower resolution
    crop = np.asarray(resize_and_crop(Image.fromarray(board.astype(np.uint8)), resolution)).astype(float)
    assert np.abs(crop - 127.5).max() < 16
