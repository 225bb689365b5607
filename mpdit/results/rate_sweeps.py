"""Sweeps of learning rates: which rates may be the best, and what that says about the ratio of two best rates.

A best rate is known to lie on a grid point only up to its neighbors: whatever set of grid points may be the best is
widened to the next point on both sides, and is open where the grid ends. No curve is fitted. All functions are pure.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .estimates import Estimate

Scores = Mapping[float, Mapping[int, float]]  # learning rate: seed: score (lower is better; infinite: diverged)


def p_best(scores: Scores) -> dict[float, float]:
    """For each rate the p-value against "it is the best (lowest)", given the scores of each rate by seed.

    It is the smallest p-value of a one-sided paired t-test against another rate, times the number of others
    (Bonferroni). It is 0 for a rate that diverged on a seed on which another one has a score for all shared seeds: its
    mean is infinite. Rates that share fewer than two seeds are not compared.
    """
    others = max(len(scores) - 1, 1)
    return {
        rate: min(1.0, others * min((_p_beaten(scores, rate, other) for other in scores if other != rate), default=1.0))
        for rate in scores
    }


def _p_beaten(scores: Scores, rate: float, other: float) -> float:
    """One-sided p-value against "`rate` is at least as good as `other`"."""
    shared = sorted(set(scores[rate]) & set(scores[other]))
    pairs = [(scores[rate][seed], scores[other][seed]) for seed in shared]
    if len(pairs) < 2 or any(math.isinf(second) for _, second in pairs):
        return 1.0
    if any(math.isinf(first) for first, _ in pairs):
        return 0.0
    return Estimate.over_seeds([first - second for first, second in pairs]).p_at_most(0.0)


def maybe_best(scores: Scores, level: float) -> list[float]:
    """The rates that may be the best: the best one is among them with a probability of at least 1 - level."""
    return [rate for rate, p in p_best(scores).items() if p >= level]


def widened(rates: Sequence[float], grid: Sequence[float]) -> tuple[float, float]:
    """The range of grid points that surrounds the given ones: from the neighbor below the lowest to that above the
    highest; 0 and infinity beyond the ends of the grid, and where there are none given."""
    if not rates:
        return 0.0, math.inf
    below = [rate for rate in grid if rate < min(rates)]
    above = [rate for rate in grid if rate > max(rates)]
    return max(below, default=0.0), min(above, default=math.inf)


def log_ratio_range(ours: Scores, base: Scores, level: float) -> tuple[float, float]:
    """The lowest and the highest logarithm of the ratio of the best rates, with a confidence of 1 - level.

    Each side takes half of the level.
    """
    return _log_ratio_range(p_best(ours), p_best(base), level)


def _log_ratio_range(ours: Mapping[float, float], base: Mapping[float, float], level: float) -> tuple[float, float]:
    """`log_ratio_range` from the p-values of the rates of both sides."""
    low, high = widened([rate for rate, p in ours.items() if p >= level / 2], list(ours))
    base_low, base_high = widened([rate for rate, p in base.items() if p >= level / 2], list(base))
    lowest = math.log(low / base_high) if low and math.isfinite(base_high) else -math.inf
    highest = math.log(high / base_low) if base_low and math.isfinite(high) else math.inf
    return lowest, highest


def p_of_ratio(ours: Scores, base: Scores, low: float, high: float) -> tuple[float, bool | None]:
    """P-value of a claim that the logarithm of the ratio of the best rates is in (low, high), and which way it goes.

    The p-value is the smallest level at which `log_ratio_range` lies inside the bounds (True) or beyond one of them
    (False), so that such claims take part in Holm's correction. (1, None) if no level decides. It errs on the safe side
    by the widening, by Bonferroni's correction, and because both ends of a range are covered where one matters.
    """
    p_ours, p_base = p_best(ours), p_best(base)
    levels = sorted({2 * p for p in (*p_ours.values(), *p_base.values()) if 2 * p < 1})
    for level, next_level in pairwise([*levels, 1.0]):  # between these two the rates with a p-value of `level` are out
        lowest, highest = _log_ratio_range(p_ours, p_base, next_level)
        if low < lowest and highest < high:
            return level, True
        if highest <= low or lowest >= high:
            return level, False
    return 1.0, None
