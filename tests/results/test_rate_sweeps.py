"""Sets of possibly best rates, and the ratio of two best rates, against scipy's tests and values computed by hand."""

import math

import pytest
from scipy import stats

from mpdit.results.rate_sweeps import log_ratio_range, maybe_best, p_best, p_of_ratio, widened

INF = math.inf


def test_a_rate_that_another_one_beats_is_out():
    clear = {1: {0: 10.0, 1: 10.1, 2: 9.9}, 2: {0: 5.0, 1: 5.2, 2: 4.9}, 3: {0: 5.1, 1: 4.9, 2: 5.0}}
    assert maybe_best(clear, 0.05) == [2, 3]
    assert maybe_best({1: {0: 10.0}, 2: {0: 5.0}}, 0.05) == [1, 2]  # one seed
    assert maybe_best({1: {0: INF, 1: 3.0}, 2: {0: 5.0, 1: 5.5}}, 0.05) == [2]  # it diverged once


def test_the_level_is_shared_by_the_rates():
    """One-sided p of differences 1 and 2 is 0.1024: out at 0.11 between two rates, in among three."""
    two = {1: {0: 2.0, 1: 3.0}, 2: {0: 1.0, 1: 1.0}}
    assert stats.ttest_1samp([1.0, 2.0], 0.0, alternative="greater").pvalue == pytest.approx(0.1024, abs=1e-4)
    assert maybe_best(two, 0.11) == [2]
    assert maybe_best({**two, 3: {0: 1.0, 1: 1.0}}, 0.11) == [1, 2, 3]


def test_the_p_value_of_being_the_best_is_the_smallest_against_another_rate():
    scores = {1: {0: 2.0, 1: 3.1, 2: 2.4}, 2: {0: 1.0, 1: 1.5, 2: 1.8}, 4: {0: 1.2, 1: 1.4, 2: 1.7}}
    others = ([1.0, 1.5, 1.8], [1.2, 1.4, 1.7])
    against = [stats.ttest_rel([2.0, 3.1, 2.4], other, alternative="greater").pvalue for other in others]
    p = p_best(scores)
    assert p[1] == pytest.approx(2 * min(against))
    assert p[2] == pytest.approx(1.0) and p[4] == pytest.approx(1.0)
    assert p_best({1: {0: INF, 1: 3.0}, 2: {0: 5.0, 1: 5.5}})[1] == 0.0  # its mean is infinite
    assert p_best({1: {0: 3.0}, 2: {1: 5.0}}) == {1: 1.0, 2: 1.0}  # no seed is shared
    assert p_best({1: {0: 3.0, 1: 4.0}}) == {1: 1.0}


def test_a_set_of_rates_is_widened_to_the_next_grid_points():
    grid = [1.0, 2.0, 4.0, 8.0]
    assert widened([2.0], grid) == (1.0, 4.0)
    assert widened([2.0, 4.0], grid) == (1.0, 8.0)
    assert widened([1.0], grid) == (0.0, 2.0)
    assert widened([4.0, 8.0], grid) == (2.0, INF)
    assert widened([], grid) == (0.0, INF)


def sweep(best: int, noise: float) -> dict[float, dict[int, float]]:
    """Scores of rates 1, 2, 4, ... 64 on three seeds: (rung - best)^2 and the given noise."""
    return {
        2.0**rung: {seed: (rung - best) ** 2 + noise * math.sin(7 * rung + 3 * seed) for seed in range(3)}
        for rung in range(7)
    }


def test_the_range_of_the_ratio_is_that_of_the_widened_sets():
    ours, base = sweep(best=4, noise=0.01), sweep(best=2, noise=0.01)
    assert maybe_best(ours, 0.025) == [16.0] and maybe_best(base, 0.025) == [4.0]
    assert log_ratio_range(ours, base, 0.05) == pytest.approx((math.log(8 / 8), math.log(32 / 2)))
    open_above = sweep(best=6, noise=0.01)
    assert log_ratio_range(open_above, base, 0.05) == pytest.approx((math.log(32 / 8), INF))
    assert log_ratio_range(base, open_above, 0.05) == pytest.approx((-INF, math.log(8 / 32)))


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
@pytest.mark.parametrize(("low", "high"), [(-0.5, INF), (math.log(20), INF), (-0.5, 3.0), (-INF, 0.0)])
def test_the_p_value_of_a_ratio_is_the_smallest_level_that_decides(noise, low, high):
    ours, base = sweep(best=4, noise=noise), sweep(best=2, noise=noise)
    p, holds = p_of_ratio(ours, base, low, high)

    def decides(level):
        lowest, highest = log_ratio_range(ours, base, level)
        return (low < lowest and highest < high) or highest <= low or lowest >= high

    if holds is None:
        assert p == 1.0 and not any(decides(level) for level in (1e-9, 0.01, 0.05, 0.2, 0.999))
    else:
        assert decides(p * (1 + 1e-9) + 1e-300) and not decides(p * (1 - 1e-9))


def test_ratios_that_are_decided_and_not():
    ours, base = sweep(best=4, noise=0.1), sweep(best=2, noise=0.1)
    assert p_of_ratio(ours, base, -0.5, INF)[1] is True
    assert p_of_ratio(ours, base, math.log(20), INF)[1] is False
    assert p_of_ratio(ours, base, 0.5, INF) == (1.0, None)  # within one grid point of the bound
    assert p_of_ratio(sweep(best=6, noise=0.1), base, -INF, 3.0) == (1.0, None)  # the grid ends
