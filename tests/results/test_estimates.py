"""Estimates of seeds, images, intervals and counts, against scipy's tests and values computed by hand."""

import math

import pytest
from scipy import stats

from mpdit.results.estimates import Estimate, image_error, log_ratio_terms, loss_estimate

INF = math.inf


def test_the_interval_of_seeds_is_students():
    values = [0.3, 0.9, 0.5, 0.6]
    expected = stats.t.interval(0.95, 3, loc=0.575, scale=stats.sem(values))
    assert Estimate.over_seeds(values).interval() == pytest.approx((0.575, *expected))


# Stored intervals


def test_a_test_of_a_stored_interval_agrees_with_it_at_five_percent():
    estimate = Estimate.from_interval(0.10, 0.07, 0.18, rounds=40)
    assert estimate.interval() == pytest.approx((0.10, 0.07, 0.18))
    assert estimate.p_inside(0.07, INF) == pytest.approx(0.05)
    assert estimate.p_inside(-INF, 0.18) == pytest.approx(0.05)
    assert estimate.p_outside(-INF, 0.07) == pytest.approx(0.05)
    assert estimate.p_inside(0.07 - 1e-6, INF) < 0.05 < estimate.p_inside(0.07 + 1e-6, INF)


def test_other_levels_of_a_stored_interval_are_normal():
    estimate = Estimate.from_interval(0.0, -1.959964, 2 * 1.959964, rounds=40)
    assert estimate.p_inside(-2.575829, INF) == pytest.approx(0.01, rel=1e-5)
    assert estimate.p_inside(-INF, 2 * 2.575829) == pytest.approx(0.01, rel=1e-5)
    assert estimate.p_inside(-2.575829, 4.0) == pytest.approx(stats.norm.sf(2.0))  # equivalence: the larger one


def test_few_rounds_cannot_give_a_small_p_value():
    sign = stats.binomtest(0, 8).pvalue
    assert Estimate.from_interval(1.0, 0.99, 1.01, rounds=8).p_inside(0.0, INF) == pytest.approx(sign)
    assert Estimate.from_interval(1.0, 0.99, 1.01, rounds=8).p_outside(-INF, 0.0) == pytest.approx(sign)
    assert Estimate.from_interval(1.0, 0.5, 1.5, rounds=4).p_inside(0.5, INF) == pytest.approx(0.125)
    assert Estimate.from_interval(1.0, 1.0, 1.0, rounds=1).p_inside(0.0, INF) == 1.0


# Counts


def test_a_count_is_exact():
    fewer = Estimate.exact(-0.054)
    assert (fewer.p_inside(-INF, 0.0), fewer.p_outside(-INF, -0.1)) == (0.0, 0.0)
    assert (fewer.p_inside(-0.06, -0.05), fewer.p_inside(0.0, INF)) == (0.0, 1.0)
    assert fewer.interval() == (-0.054, -0.054, -0.054)
    assert Estimate.exact(0.0).p_outside(-INF, 0.0) == 0.0  # equal is not fewer
    assert Estimate.exact(-0.1).p_outside(-INF, 0.0) == 1.0


# Images


def test_the_error_of_images_is_that_of_their_mean():
    assert image_error([1.0, 2.0, 4.0]) == pytest.approx(stats.sem([1.0, 2.0, 4.0]))
    assert math.isnan(image_error([1.0]))


def test_log_ratio_terms_are_the_derivative_of_the_log_ratio():
    """The weight of one image is raised by a little: the log ratio moves by the image's term."""
    ours, base = [0.11, 0.20, 0.35], [0.10, 0.22, 0.30]

    def log_ratio(weights):
        sums = [sum(weight * loss for weight, loss in zip(weights, side, strict=True)) for side in (ours, base)]
        return math.log(sums[0] / sums[1])

    terms = log_ratio_terms(ours, base)
    assert sum(terms) == pytest.approx(0.0, abs=1e-12)
    for i, term in enumerate(terms):
        weights = [1.0, 1.0, 1.0]
        weights[i] += 3e-6
        assert (log_ratio(weights) - log_ratio([1.0] * 3)) / 1e-6 == pytest.approx(term, abs=1e-5)


def test_the_half_widths_of_seeds_and_images_are_added_in_quadrature():
    joint = Estimate(1.0, 3.0, 2).with_error(4.0, 9)
    half_width = math.hypot(3 * stats.t.ppf(0.975, 2), 4 * stats.t.ppf(0.975, 9))
    assert joint.interval() == pytest.approx((1.0, 1 - half_width, 1 + half_width))


@pytest.mark.parametrize("level", [1e-6, 0.0125, 0.05, 0.4, 0.9])
def test_a_test_with_two_errors_agrees_with_the_interval_at_every_level(level):
    joint = Estimate(1.0, 0.3, 2).with_error(0.2, 99)
    _, low, high = joint.interval(level)
    assert joint.p_inside(low, INF) == pytest.approx(level)
    assert joint.p_inside(-INF, high) == pytest.approx(level)
    assert joint.p_outside(-INF, low) == pytest.approx(level)
    assert joint.p_at_least(low) == pytest.approx(1 - level / 2)


def test_an_error_of_zero_adds_nothing():
    seeds = Estimate(1.0, 0.4, 3)
    assert seeds.with_error(0.0, 9).p_inside(0.0, INF) == seeds.p_inside(0.0, INF)
    assert Estimate(1.0, 0.0, 3).with_error(0.4, 9).p_inside(0.0, INF) == Estimate(1.0, 0.4, 9).p_inside(0.0, INF)
    assert Estimate(1.0, 0.0, 3).with_error(0.0, 9).p_inside(0.0, INF) == 0.0


def test_an_estimate_of_losses_has_both_errors():
    values, differences = [0.010, 0.014, 0.009], [0.00, 0.03, -0.01, 0.02]
    both = loss_estimate(values, differences)
    assert both.mean == pytest.approx(0.011)
    assert (both.error, both.freedom) == pytest.approx((stats.sem(values), 2))
    assert (both.second_error, both.second_freedom) == pytest.approx((stats.sem(differences), 3))


def test_no_error_is_added_to_a_lopsided_one_or_to_two():
    for estimate in (Estimate.from_interval(0.0, -1.0, 2.0, rounds=40), Estimate(0.0, 1.0, 2).with_error(1.0, 3)):
        with pytest.raises(ValueError, match="takes no other error"):
            estimate.with_error(1.0, 3)
