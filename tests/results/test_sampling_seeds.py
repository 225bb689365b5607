"""Sampling seeds that training seeds share, and the error that this leaves in a mean over training seeds."""

import math
from statistics import stdev

import pytest

from mpdit.results.estimates import Estimate
from mpdit.results.sampling_seeds import any_shared, estimate, independent_groups, log_ratios, one_for_all, shared

VALUES = {0: 1.0, 1: 2.0, 2: 4.0, 3: 8.0, 4: 10.0}


def drawn(*sampling_seeds: tuple[int, ...]) -> dict[int, dict[int, float]]:
    """VALUES by sampling seed: those of training seed 0, 1, ..."""
    return {seed: dict.fromkeys(own, VALUES[seed]) for seed, own in enumerate(sampling_seeds)}


@pytest.mark.parametrize(
    ("sampling_seeds", "groups"),
    [
        (((0,), (1,), (2,)), [[0], [1], [2]]),
        (((0,), (0,), (0,)), [[0, 1, 2]]),
        (((0,), (1,), (0,), (3,)), [[1], [0, 2], [3]]),
        (((0,), (1,), (0, 1)), [[0, 1, 2]]),  # joined by the third
    ],
)
def test_groups_share_no_sampling_seed(sampling_seeds, groups):
    assert independent_groups(drawn(*sampling_seeds)) == groups


def test_paired_sampling_seeds_need_no_correction():
    assert estimate(VALUES, drawn((0,), (1,), (2,), (3,), (4,))) == Estimate.over_seeds(list(VALUES.values()))


def test_training_seeds_that_share_a_sampling_seed_count_once():
    """One sampling seed is used twice: four independent values are left, which is no reason to say nothing."""
    by_seed = drawn((0,), (1,), (2,), (3,), (3,))
    assert (shared(by_seed), one_for_all(by_seed)) == ([3], "")
    assert estimate(VALUES, by_seed) == Estimate.over_seeds([1.0, 2.0, 4.0, 9.0])


def test_one_sampling_seed_for_all_says_nothing_about_the_configurations():
    assert one_for_all(drawn((0,), (0,), (0,))).startswith("all training seeds share one sampling seed")
    assert one_for_all(drawn((0,))) == one_for_all(drawn((0,), (1,))) == one_for_all({}) == ""


def test_the_error_of_several_sampling_seeds_that_all_share_is_added():
    by_seed = {0: {5: 0.0, 6: 2.0}, 1: {5: 2.0, 6: 4.0}}
    assert one_for_all(by_seed) == ""
    ours = estimate({0: 1.0, 1: 3.0}, by_seed)
    assert ours == Estimate.over_seeds([1.0, 3.0]).with_error(stdev([1.0, 3.0]) / math.sqrt(2), 1)


def test_one_training_seed_has_no_error():
    assert estimate({0: 1.0}, drawn((0, 1))) is None


def test_whether_any_is_shared():
    assert not any_shared([(0, 0), (0, 1), (1, 2), (0, 0)])
    assert any_shared([(0, 0), (1, 0)])


def test_ratios_are_of_sampling_seeds_that_both_sides_have():
    ours, base = {0: {0: 2.0, 1: 6.0}, 1: {0: 1.0}, 2: {0: 0.0}}, {0: {0: 1.0, 1: 1.0, 2: 9.0}, 2: {0: 1.0}}
    values, by_seed = log_ratios(ours, base)
    assert values == {0: pytest.approx(math.log(4.0)), 2: pytest.approx(math.nan, nan_ok=True)}
    assert by_seed[0] == {0: pytest.approx(math.log(2.0)), 1: pytest.approx(math.log(6.0))}
