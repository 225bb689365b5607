"""samples.npz: written batch by batch, read back whole."""

import re
import shutil

import numpy as np
import pytest
from helpers.damage import flip_bit

from mpdit.evaluation.sample_archive import read_samples, sample_writer
from mpdit.system.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def test_images_written_in_batches_are_read_back_whole(tmp_path):
    path = tmp_path / "samples.npz"
    with sample_writer(path, np.arange(5)) as append:
        assert [append(IMAGES[:2]), append(IMAGES[2:])] == [2, 5]
    np.testing.assert_array_equal(read_samples(path), IMAGES)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["labels"].tolist() == [0, 1, 2, 3, 4]


def test_the_number_of_images_must_be_that_of_labels(tmp_path):
    with (
        pytest.raises(ValueError, match="2 images for 5 labels"),
        sample_writer(tmp_path / "s.npz", np.arange(5)) as append,
    ):
        append(IMAGES[:2])


@pytest.mark.parametrize("damage", ["flipped", "of another run"])
def test_a_flipped_bit_and_other_images_are_one_line(tmp_path, damage):
    path, other = tmp_path / "runs/a/samples/p/samples.npz", tmp_path / "runs/b/samples/p/samples.npz"
    for file, images in ((path, IMAGES), (other, IMAGES[::-1])):
        with sample_writer(file, np.arange(5)) as append:
            append(images)
    flip_bit(path) if damage == "flipped" else shutil.copy(other, path)
    goal = "results/runs/a/samples/p/samples.npz"
    message = f"{path}: damaged: its content is not what was written; delete it and run `snakemake --cores all {goal}`"
    with pytest.raises(UserError, match=re.escape(message)):
        read_samples(path)
