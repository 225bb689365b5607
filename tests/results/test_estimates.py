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


def test_the_errors_of_seeds_and_images_are_joined_in_quadrature():
    """Errors 3 and 4 with 2 and 9 degrees of freedom: 5, and 625 / (81/2 + 256/9) = 9.07 degrees."""
    joint = Estimate(0.0, 3.0, 2).with_error(4.0, 9)
    assert joint.error == pytest.approx(5.0)
    assert joint.freedom == pytest.approx(625 / (81 / 2 + 256 / 9))
    assert joint.interval()[2] == pytest.approx(5 * stats.t.ppf(0.975, 625 / (81 / 2 + 256 / 9)))
    assert Estimate(1.0, 0.0, 2).with_error(0.0, 9) == Estimate(1.0, 0.0, 2)


def test_welch_is_the_same_joint_error():
    a, b = [1.0, 2.5, 2.0, 4.0], [0.5, 0.7, 0.1]
    joint = Estimate(stats.tmean(a) - stats.tmean(b), stats.sem(a), 3).with_error(stats.sem(b), 2)
    assert joint.p_inside(0.0, INF) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


def test_an_estimate_of_losses_has_both_errors():
    values, differences = [0.010, 0.014, 0.009], [0.00, 0.03, -0.01, 0.02]
    both = loss_estimate(values, differences)
    assert both.mean == pytest.approx(0.011)
    assert both.error == pytest.approx(math.hypot(stats.sem(values), stats.sem(differences)))


def test_a_lopsided_estimate_takes_no_second_error():
    with pytest.raises(ValueError, match="lopsided"):
        Estimate.from_interval(0.0, -1.0, 2.0, rounds=40).with_error(1.0, 3)
