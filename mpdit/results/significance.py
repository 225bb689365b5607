"""Statistics of a few seeds: Student's t on differences paired by seed, equivalence, Holm's correction.

A claim is an interval of values, which may be open to one side, and a verdict says on which side of its bounds the true
mean lies. Levels are two-sided throughout, so that a test against one bound agrees with the interval that is shown.
All functions are pure.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

LEVEL = 0.05
MOST_SEEDS = 1000  # the largest number of seeds that `seeds_needed` returns


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Mean of the values and its (1 - level) interval (Student's t); NaN bounds for fewer than 2 values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return (fmean(values) if n else math.nan), math.nan, math.nan
    mean, half_width = fmean(values), float(stdtrit(n - 1, 1 - level / 2)) * stdev(values) / math.sqrt(n)
    return mean, mean - half_width, mean + half_width


def p_inside(mean: float, sd: float, n: int, low: float = -math.inf, high: float = math.inf) -> float:
    """P-value against "the true mean is outside (low, high)": a small one says that it is inside.

    With one finite bound this is the two-sided t-test against that bound; with two it is equivalence by two one-sided
    tests (TOST; Schuirmann, 1987), the larger of their p-values. `n` is at least 2; `sd` has Bessel's correction.
    """
    if math.isinf(low) or math.isinf(high):
        return min(1.0, 2 * max(_tail(mean, sd, n, low), _tail(-mean, sd, n, -high)))
    return max(_tail(mean, sd, n, low), _tail(-mean, sd, n, -high))


def p_outside(mean: float, sd: float, n: int, low: float = -math.inf, high: float = math.inf) -> float:
    """P-value against "the true mean is in [low, high]": a small one says that it is beyond a bound (two-sided)."""
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
    """Two-sided p-value against "both signs are equally likely", for differences of which only the sign is known."""
    n = above + below
    outcomes: int = 2**n
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(above, below) + 1)) / outcomes)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the order given.

    Rejecting those below a level keeps the family-wise error rate at that level.
    """
    m, corrected, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = highest
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


def maybe_best(scores: Mapping[float, Mapping[int, float]], level: float) -> list[float]:
    """The options that may be the best (lowest), given the scores of each by seed.

    The best option is among them with a probability of at least 1 - level: an option is out if another one beats it in
    a one-sided paired t-test at level / (options - 1) (Bonferroni). An infinite score (of a run that diverged) is out
    where another option has none on the same seeds.
    """
    return [option for option in scores if not any(_is_beaten(scores, option, other, level) for other in scores)]


def _is_beaten(scores: Mapping[float, Mapping[int, float]], option: float, other: float, level: float) -> bool:
    shared = sorted(set(scores[option]) & set(scores[other]))
    pairs = [(scores[option][seed], scores[other][seed]) for seed in shared]
    if len(pairs) < 2 or any(math.isinf(second) for _, second in pairs):
        return False
    if any(math.isinf(first) for first, _ in pairs):
        return True
    differences = [first - second for first, second in pairs]
    return _tail(fmean(differences), stdev(differences), len(differences), 0.0) < level / (len(scores) - 1)
