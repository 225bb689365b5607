"""Statistics of a few seeds: Student's t on differences paired by seed, equivalence, Holm's correction. Pure functions.

A claim is a region of values, open or closed to one side, and a verdict asks on which side of its bounds the true mean
lies. Levels are two-sided throughout, so that a test of one bound agrees with the interval that is shown.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

LEVEL = 0.05
MOST_SEEDS = 1000  # beyond which nobody counts


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Mean of the values and its (1 - level) interval (Student's t); NaN bounds for fewer than 2 values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return (fmean(values) if n else math.nan), math.nan, math.nan
    mean, reach = fmean(values), float(stdtrit(n - 1, 1 - level / 2)) * stdev(values) / math.sqrt(n)
    return mean, mean - reach, mean + reach


def p_inside(mean: float, sd: float, n: int, low: float = -math.inf, high: float = math.inf) -> float:
    """P-value against "the true mean is not in (low, high)": small means that it is.

    One finite bound: the two-sided t-test of that bound. Two: equivalence by two one-sided tests (TOST; Schuirmann,
    1987), the larger of their p-values. `n` at least 2; `sd` with Bessel's correction.
    """
    if math.isinf(low) or math.isinf(high):
        return min(1.0, 2 * max(_tail(mean, sd, n, low), _tail(-mean, sd, n, -high)))
    return max(_tail(mean, sd, n, low), _tail(-mean, sd, n, -high))


def p_outside(mean: float, sd: float, n: int, low: float = -math.inf, high: float = math.inf) -> float:
    """P-value against "the true mean is in [low, high]": small means that it is beyond one of them (two-sided)."""
    return min(1.0, 2 * min(_tail(-mean, sd, n, -low), _tail(mean, sd, n, high)))


def _tail(mean: float, sd: float, n: int, bound: float) -> float:
    """One-sided p-value against "the true mean is at most `bound`"."""
    from scipy.special import stdtr

    if math.isinf(bound):
        return 0.0 if bound < 0 else 1.0
    if sd == 0:
        return 0.0 if mean > bound else 1.0
    return float(stdtr(n - 1, -(mean - bound) / (sd / math.sqrt(n))))


def sign_test(above: int, below: int) -> float:
    """Two-sided p-value against "either sign is as likely": for differences of which only the sign is known."""
    n = above + below
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(above, below) + 1)) / 2**n)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the order given: below a level, the family-wise error is."""
    m, corrected, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def seeds_needed(mean: float, sd: float, n: int, low: float, high: float, level: float) -> int | None:
    """How many seeds, more than `n`, would decide at `level` if mean and spread stay as they are; None for too many."""
    test = p_inside if low < mean < high else p_outside
    return next((k for k in range(max(n + 1, 2), MOST_SEEDS + 1) if test(mean, sd, k, low, high) < level), None)


def sampling_error(differences: Sequence[Sequence[float]], level: float = LEVEL) -> float:
    """Half-width of the mean's interval as far as sampling seeds move it, the training seeds being given.

    `differences`: of each training seed, one value a sampling seed. Their variance about each training seed's own mean
    is pooled; Student's t on its degrees of freedom. NaN where no training seed has 2.
    """
    from scipy.special import stdtrit

    several = [row for row in differences if len(row) > 1]
    freedom = sum(len(row) - 1 for row in several)
    if not freedom:
        return math.nan
    variance = sum(stdev(row) ** 2 * (len(row) - 1) for row in several) / freedom
    error = math.sqrt(variance * sum(1 / len(row) for row in differences)) / len(differences)
    return float(stdtrit(freedom, 1 - level / 2)) * error


def maybe_best(scores: Mapping[float, Mapping[int, float]], level: float) -> list[float]:
    """The options that may be the best (lowest), each with its score by seed: a set that holds the best with 1 - level.

    An option is out if another beats it by a one-sided paired t-test at level / (options - 1): the best is then lost
    with a probability of at most `level` (Bonferroni). Infinite scores (diverged) are out where another option has none
    on the same seeds.
    """
    return [option for option in scores if not any(_beaten(scores, option, other, level) for other in scores)]


def _beaten(scores: Mapping, option: float, other: float, level: float) -> bool:
    shared = sorted(set(scores[option]) & set(scores[other]))
    pairs = [(scores[option][seed], scores[other][seed]) for seed in shared]
    if len(pairs) < 2 or any(math.isinf(second) for _, second in pairs):
        return False
    if any(math.isinf(first) for first, _ in pairs):
        return True
    losses = [first - second for first, second in pairs]
    return _tail(fmean(losses), stdev(losses), len(losses), 0.0) < level / (len(scores) - 1)
