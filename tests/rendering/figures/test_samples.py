"""Grids of samples."""

import numpy as np
import pandas as pd
import pytest
from helpers.drawing import draw, title
from helpers.made_up_runs import entry, frames, run_row, write_run

from mpdit.rendering.figures.samples import mosaic, sample_grids
from mpdit.system.errors import UserError


def test_samples_show_one_class_per_column(tmp_path):
    a, e = entry("A"), entry("E")
    write_run(tmp_path, a)  # image i is of gray i, its class is i mod 10
    runs = pd.DataFrame([run_row(a), run_row(e, "diverged")])
    first, second = draw(sample_grids, runs, frames((a, "trained", [{}]))["fid"], tmp_path).axes
    assert title(first) == "A: baseline DiT"
    (image,) = first.get_images()
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (5 * 68 - 4, 10 * 68 - 4, 3)
    assert pixels[32::68, 32::68, 0].tolist() == [[10 * row + column for column in range(10)] for row in range(5)]
    assert (pixels[64:68] == 255).all()
    assert not second.get_images()
    assert second.texts[0].get_text() == "no samples: diverged"


def test_missing_samples_leave_gaps(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, arr_0=np.zeros((3, 64, 64, 3), np.uint8), labels=np.array([7, 2, 7]))
    pixels = mosaic(path, rows=2, classes=10)
    assert pixels.shape == (2 * 68 - 4, 2 * 68 - 4, 3)
    assert pixels[32::68, 32::68, 0].tolist() == [[0, 0], [255, 0]]


def test_damaged_and_missing_samples_are_one_line(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, arr_0=np.zeros((3, 64, 64, 3), np.uint8), labels=np.array([7, 2, 7]))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"samples.npz: .* expected a samples.npz written by `mpdit sample`$"):
        mosaic(path, rows=2, classes=10)
    with pytest.raises(UserError, match="no-such"):
        mosaic(tmp_path / "no-such.npz", rows=2, classes=10)
