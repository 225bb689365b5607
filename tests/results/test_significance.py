"""Statistics of seeds against values computed by hand and scipy's tests."""

import math

import pytest
from scipy import stats

from mpdit.results.significance import (
    divergence_test,
    holm,
    holm_by_family,
    p_inside,
    p_outside,
    sampling_error,
    seeds_needed,
    t_interval,
)

INF = math.inf


def test_t_interval_by_hand():
    """Mean 2, sd 1, standard error 1 / sqrt(3); t is 4.302653 at 97.5 % with 2 degrees of freedom."""
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-6)
    assert t_interval([1.0, 3.0])[2] == pytest.approx(2 + 12.7062, abs=1e-4)  # the standard error is 1


def test_one_value_has_no_interval():
    mean, low, high = t_interval([5.0])
    assert mean == 5.0
    assert math.isnan(low) and math.isnan(high)
    assert all(map(math.isnan, t_interval([])))


VALUES = [0.3, 0.9, 0.5, 0.6]
MEAN, SD = 0.575, stats.tstd(VALUES)


@pytest.mark.parametrize("bound", [0.0, 0.575, 1.5])
def test_one_bound_is_the_two_sided_t_test(bound):
    expected = stats.ttest_1samp(VALUES, bound).pvalue
    inside, outside = (MEAN, SD, 4, bound, INF), (MEAN, SD, 4, -INF, bound)
    assert (p_inside if bound < MEAN else p_outside)(*inside) == pytest.approx(expected)
    assert (p_outside if bound < MEAN else p_inside)(*outside) == pytest.approx(expected)
    assert (p_outside if bound < MEAN else p_inside)(*inside) == 1.0


def test_equivalence_is_two_one_sided_tests():
    above = stats.ttest_1samp(VALUES, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(VALUES, 1.0, alternative="less").pvalue
    assert above < below
    assert p_inside(MEAN, SD, 4, -1.0, 1.0) == pytest.approx(below)
    # A 90 % interval within the margin is the same as equivalence at 5 %.
    low, high = t_interval(VALUES, level=0.1)[1:]
    assert p_inside(MEAN, SD, 4, low - 1e-9, high + 1e-9) == pytest.approx(0.05, abs=1e-6)


def test_beyond_a_margin_is_two_sided():
    _, low, _ = t_interval(VALUES)
    assert p_outside(MEAN, SD, 4, -INF, low) == pytest.approx(0.05)
    assert p_outside(MEAN, SD, 4, low - 1.0, low) == pytest.approx(0.05, abs=1e-3)


def test_values_without_spread():
    assert p_inside(1.0, 0.0, 3, 0.99, 1.01) == 0.0
    assert p_outside(1.0, 0.0, 3, 0.99, 1.01) == 1.0
    assert p_inside(1.0, 0.0, 3, 1.0, INF) == 1.0  # at the bound


def test_holm_by_hand():
    """Smallest times 3, next times 2, largest times 1, never below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("diverged", "runs", "base_diverged", "base_runs"),
    [(5, 5, 0, 5), (0, 5, 4, 5), (2, 5, 3, 5), (0, 5, 0, 5), (5, 5, 5, 5), (1, 7, 6, 9), (3, 10, 0, 6)],
)
def test_divergences_are_compared_by_fishers_exact_test(diverged, runs, base_diverged, base_runs):
    table = [[diverged, runs - diverged], [base_diverged, base_runs - base_diverged]]
    ours = divergence_test(diverged, runs, base_diverged, base_runs)
    assert ours == pytest.approx(stats.fisher_exact(table).pvalue)


def test_fewer_than_five_runs_are_not_tested_for_divergence():
    assert divergence_test(4, 4, 0, 5) is None
    assert divergence_test(5, 5, 0, 4) is None
    assert stats.fisher_exact([[4, 0], [0, 4]]).pvalue * 2 > 0.05  # the reason: two claims are undecided even then


def test_families_are_corrected_apart():
    p_values = [0.01, 0.02, 0.04, math.nan, 0.03]
    families = ["primary", "other", "primary", "other", "primary"]
    corrected = holm_by_family(p_values, families)
    assert corrected[:3] + corrected[4:] == pytest.approx([0.03, 0.02, 0.06, 0.06])
    assert math.isnan(corrected[3])
    assert holm_by_family([], []) == []


def test_an_exact_claim_takes_nothing_from_its_family():
    assert holm([0.0, 0.01, 0.04])[1:] == holm([0.01, 0.04])


def test_the_seeds_needed_are_the_smallest_number_that_decides():
    needed = seeds_needed(1.0, 1.0, 3, 0.0, INF, 0.05)
    assert p_inside(1.0, 1.0, needed, 0.0, INF) < 0.05 <= p_inside(1.0, 1.0, needed - 1, 0.0, INF)
    assert needed == 7  # t of 7 seeds is sqrt(7) = 2.65 > 2.45, that of 6 is 2.449 < 2.571
    assert seeds_needed(0.0, 1.0, 3, 0.0, INF, 0.05) is None
    assert seeds_needed(3.0, 1.0, 2, -2.0, 2.0, 0.05) == 7  # beyond a margin by one standard deviation


def test_sampling_error_by_hand():
    """Variances 2 and 8, pooled 5 on 2 degrees of freedom; of a mean of two means of two: sqrt(5 (1/2 + 1/2)) / 2."""
    assert sampling_error([[1.0, 3.0], [2.0, 6.0]]) == pytest.approx(4.302653 * 5**0.5 / 2, abs=1e-5)
    assert math.isnan(sampling_error([[1.0], [2.0]]))
    assert math.isnan(sampling_error([]))
