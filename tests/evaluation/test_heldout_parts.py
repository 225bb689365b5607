"""The parts of the images on which the held-out loss is measured."""

import numpy as np
import pytest
import torch
from helpers.made_up_latents import made_up_latents

from mpdit.evaluation.heldout_parts import parts_of
from mpdit.system.errors import UserError

TRAIN = [0] * 8 + [1] * 5 + [2] * 11
HELDOUT = [0, 1, 2] * 4  # four of each class


@pytest.mark.parametrize("labels", [HELDOUT, sorted(HELDOUT), [0, 1] * 4, [2, 0, 0, 2, 1, 2, 1, 2]])
def test_tuning_and_reporting_images_are_disjoint_halves_of_each_class(tmp_path, labels):
    heldout = made_up_latents(tmp_path / "heldout", labels, seed=1)
    parts = parts_of(made_up_latents(tmp_path / "train", TRAIN), heldout)
    tune, report = parts["tune"].rows, parts["report"].rows
    assert sorted([*tune, *report]) == list(range(len(labels)))
    halves = np.bincount(labels) // 2
    assert np.array_equal(np.bincount(heldout.labels[tune]), halves)
    assert np.array_equal(np.bincount(heldout.labels[report]), halves)


@pytest.mark.parametrize("per_class", [2, 3, 5])
def test_an_odd_number_per_class_favors_each_part_in_turn(tmp_path, per_class):
    heldout = made_up_latents(tmp_path / "heldout", sorted([0, 1, 2] * per_class), seed=1)
    parts = parts_of(made_up_latents(tmp_path / "train", TRAIN), heldout)
    counts = np.array([np.bincount(heldout.labels[parts[part].rows], minlength=3) for part in ("tune", "report")])
    assert (counts.sum(0) == per_class).all()
    assert (abs(counts[0] - counts[1]) <= 1).all()
    assert abs(len(parts["tune"]) - len(parts["report"])) <= 1


def test_training_images_have_the_classes_and_the_draws_of_the_reporting_part(tmp_path):
    train = made_up_latents(tmp_path / "train", TRAIN)
    parts = parts_of(train, made_up_latents(tmp_path / "heldout", HELDOUT, seed=1))
    report, shown = parts["report"], parts["train"]
    assert np.array_equal(shown.draw_keys, report.draw_keys)
    for indices in (slice(0, 2), slice(2, 6)):
        assert torch.equal(shown.images(indices)[1], report.images(indices)[1])
    assert shown.rows.tolist() == [9, 2, 15, 11, 6, 21]  # evenly spaced within each class
    assert shown.latents is train


def test_mirror_images_are_not_among_the_training_images(tmp_path):
    mirrored = made_up_latents(tmp_path / "mirrored", sorted(2 * TRAIN), flips="both")
    plain = made_up_latents(tmp_path / "plain", TRAIN, seed=2)
    heldout = made_up_latents(tmp_path / "heldout", HELDOUT, seed=1)
    assert np.array_equal(parts_of(mirrored, heldout)["train"].rows, 2 * parts_of(plain, heldout)["train"].rows)


def test_a_class_with_few_training_images_shows_what_it_has(tmp_path):
    parts = parts_of(
        made_up_latents(tmp_path / "train", [0, 1, 1, 1, 2, 2, 2]),
        made_up_latents(tmp_path / "heldout", HELDOUT, seed=1),
    )
    assert len(parts["train"]) == 5
    held_out_labels = parts["report"].latents.labels[parts["train"].draw_keys]
    assert np.array_equal(parts["train"].latents.labels[parts["train"].rows], held_out_labels)


def test_images_are_posterior_means_whitened_by_the_training_latents(tmp_path):
    train = made_up_latents(tmp_path / "train", TRAIN, channel_mean=(1.0, -1.0), channel_std=(3.0, 0.5))
    heldout = made_up_latents(tmp_path / "heldout", HELDOUT, seed=1, channel_mean=(7.0, 7.0), channel_std=(9.0, 9.0))
    for part in parts_of(train, heldout).values():
        images, labels = part.images(slice(1, 4))
        stored = part.latents.mean[part.rows[1:4]].astype(np.float64)
        expected = (stored - np.array([1.0, -1.0])[:, None, None]) / np.array([3.0, 0.5])[:, None, None]
        assert np.allclose(images.numpy(), expected, atol=1e-6)
        assert labels.tolist() == part.latents.labels[part.rows[1:4]].tolist()


@pytest.mark.parametrize("labels", [[0], [1], [0, 2]])
def test_an_empty_part_is_one_line(tmp_path, labels):
    heldout = made_up_latents(tmp_path / "heldout", labels, seed=1)
    with pytest.raises(UserError, match=r"^.*heldout: too few held-out images, \d; expected at least two per class$"):
        parts_of(made_up_latents(tmp_path / "train", TRAIN), heldout)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes": ("a", "c", "b")}, "classes is ('a', 'c', 'b')"),
        ({"resolution": 8}, "resolution is 8"),
        ({"shape": (2, 8, 8)}, "shape is (2, 8, 8)"),
        ({"seed": 0}, "trained on"),
    ],
)
def test_latents_that_do_not_belong_together_are_one_line(tmp_path, changes, problem):
    train = made_up_latents(tmp_path / "train", TRAIN)
    heldout = made_up_latents(tmp_path / "heldout", HELDOUT, **{"seed": 1, **changes})
    with pytest.raises(UserError) as error:
        parts_of(train, heldout)
    assert problem in str(error.value)
    assert str(tmp_path / "heldout") in str(error.value)
    assert "\n" not in str(error.value)
