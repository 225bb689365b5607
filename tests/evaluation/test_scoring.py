"""Scores of features against a reference."""

from dataclasses import asdict

import numpy as np
import pytest
from helpers.references import random_reference

from mpdit.evaluation.metrics import mean_kernel
from mpdit.evaluation.reference import Reference
from mpdit.evaluation.scoring import score

NOT_IN_STATISTICS = ("reference_count", "kid", "kid_sd", "fid_floor", "kid_floor", "floor_count")


def random_features(count=20):
    return np.random.default_rng(1).normal(size=(count, 6)).astype(np.float32)


def test_a_singular_covariance_is_marked_as_rank_deficient():
    reference, rows = random_reference(), random_features()
    scored = score(rows, reference)
    assert scored.fid_rank_deficient is False
    assert scored.fid > 0 and scored.floor_count == 10 and scored.fid_floor == reference.floor.fid
    assert score(rows[:6], reference).fid_rank_deficient is True
    assert score(rows, random_reference(count=6)).fid_rank_deficient is True


def test_the_reference_itself_has_distance_zero():
    reference = random_reference()
    scored = score(reference.rows, reference)
    assert scored.fid == pytest.approx(0, abs=1e-9)
    assert scored.kid < 0  # unbiased: with the same rows on both sides the cross term has the diagonal


def test_precomputed_statistics_give_the_same_frechet_distance_and_nothing_else():
    full, rows = random_reference(), random_features(30)
    alone = random_reference(count=None, rows=full.rows[:0], floor=None)
    ours, theirs = asdict(score(rows, alone)), asdict(score(rows, full))
    assert ours["fid"] == theirs["fid"] > 0
    assert {name for name, value in ours.items() if value is None} == set(NOT_IN_STATISTICS)
    assert None not in theirs.values()
    assert ours["fid_rank_deficient"] is False and score(rows[:6], alone).fid_rank_deficient is True


def test_a_reference_may_hold_the_mean_kernel_of_its_rows_or_not(tmp_path):
    """Files of version 0.1 do not."""
    without, rows = random_reference(), random_features()
    random_reference(mean_kernel=mean_kernel(without.rows)).save(tmp_path / "with.npz")
    expected, scored = score(rows, without), score(rows, Reference.load(tmp_path / "with.npz"))
    assert scored.kid == pytest.approx(expected.kid, rel=1e-12)
    assert scored.kid_sd == expected.kid_sd
