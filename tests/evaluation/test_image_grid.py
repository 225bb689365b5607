"""The picture of a run's first samples."""

import numpy as np
import pytest

from mpdit.evaluation.image_grid import image_grid, position_in_grid, text_picture


@pytest.mark.parametrize(("size", "shown"), [(8, 64), (28, 56), (64, 64), (128, 128)])
def test_only_small_images_are_enlarged_by_a_whole_factor(size, shown):
    black = np.zeros((size, size, 3), np.uint8)
    assert image_grid({(0, 0): black, (0, 1): black}).size == (2 * (shown + 2) + 2, shown + 4)


def test_each_class_has_a_column_and_the_rest_is_left_out():
    assert position_in_grid(0, 3) == (0, 0)
    assert position_in_grid(5, 3) == (1, 2)
    assert position_in_grid(29, 3) == (9, 2)
    assert position_in_grid(30, 3) is None  # row 10
    assert position_in_grid(15, 1000) == (0, 15)
    assert position_in_grid(16, 1000) is None  # column 16


def test_a_line_of_text_is_readable_dark_on_white():
    pixels = np.asarray(text_picture("diverged at step 17"))
    assert pixels.shape[1] < 300 and (pixels < 128).any() and (pixels[0] == 255).all()
