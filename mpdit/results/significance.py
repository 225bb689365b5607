"""Tests of claims on a few seeds: Student's t, equivalence, divergences, and Holm's correction for their number.

A claim is an interval of values, which may be open to one side, and a verdict says on which side of its bounds the true
value lies. Levels are two-sided throughout, so that a test against one bound agrees with the interval that is shown.
What is tested is an `Estimate`: a mean over seeds, a median with a stored interval, or an exact count. All functions
are pure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import fmean, stdev

from .estimates import LEVEL, Estimate

FEWEST_RUNS = 5  # per side, for a test of how often runs diverge
MOST_SEEDS = 1000  # the largest number of seeds that `seeds_needed` returns


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Mean of the values and its (1 - level) interval (Student's t); NaN bounds for fewer than 2 values."""
    if len(values) < 2:
        return (fmean(values) if values else math.nan), math.nan, math.nan
    return Estimate.over_seeds(values).interval(level)


def p_inside(mean: float, sd: float, n: int, low: float = -math.inf, high: float = math.inf) -> float:
    """`Estimate.p_inside` of a mean of `n` >= 2 seeds; `sd` has Bessel's correction."""
    return Estimate(mean, sd / math.sqrt(n), n - 1).p_inside(low, high)


def p_outside(mean: float, sd: float, n: int, low: float = -math.inf, high: float = math.inf) -> float:
    """`Estimate.p_outside` of a mean of `n` >= 2 seeds; `sd` has Bessel's correction."""
    return Estimate(mean, sd / math.sqrt(n), n - 1).p_outside(low, high)


def divergence_test(diverged: int, runs: int, base_diverged: int, base_runs: int) -> float | None:
    """Two-sided p-value against "both sides diverge equally often" (Fisher's exact test).

    The number of runs that diverged, of so many runs, on either side. None where a side has fewer than FEWEST_RUNS: no
    outcome could decide then, not even all against none of four after a correction for two claims.
    """
    if min(runs, base_runs) < FEWEST_RUNS:
        return None
    total = diverged + base_diverged
    ways = {
        k: math.comb(runs, k) * math.comb(base_runs, total - k)
        for k in range(max(0, total - base_runs), min(total, runs) + 1)
    }
    as_extreme = sum(number for number in ways.values() if number <= ways[diverged])
    return as_extreme / math.comb(runs + base_runs, total)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the order given.

    Rejecting those below a level keeps the family-wise error rate at that level.
    """
    m, corrected, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def holm_by_family(p_values: Sequence[float], families: Sequence[Hashable]) -> list[float]:
    """P-values corrected within their families, each with an error rate of its own, in the order given.

    The primary claims of a study are one family, all others another one, called exploratory. A p-value of NaN (there
    was no test) stays NaN and counts for nothing.
    """
    corrected = [math.nan] * len(p_values)
    for family in set(families):
        tested = [i for i, p in enumerate(p_values) if families[i] == family and not math.isnan(p)]
        for i, p in zip(tested, holm([p_values[i] for i in tested]), strict=True):
            corrected[i] = p
    return corrected


def seeds_needed(mean: float, sd: float, n: int, low: float, high: float, level: float) -> int | None:
    """The number of seeds, more than `n`, that would decide at `level` if mean and spread stayed as they are.

    None if that takes more than MOST_SEEDS.
    """
    test = p_inside if low < mean < high else p_outside
    return next((k for k in range(max(n + 1, 2), MOST_SEEDS + 1) if test(mean, sd, k, low, high) < level), None)


def sampling_error(differences: Sequence[Sequence[float]], level: float = LEVEL) -> float:
    """Half-width of the mean's interval as far as it is due to sampling seeds, for these training seeds.

    `differences` holds, for each training seed, one value per sampling seed. Their variance about the mean of their
    training seed is pooled, with Student's t on its degrees of freedom. NaN if no training seed has two values.
    """
    from scipy.special import stdtrit

    repeated = [values for values in differences if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return math.nan
    variance = sum(stdev(values) ** 2 * (len(values) - 1) for values in repeated) / freedom
    error = math.sqrt(variance * sum(1 / len(values) for values in differences)) / len(differences)
    return float(stdtrit(freedom, 1 - level / 2)) * error
