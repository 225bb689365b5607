"""Estimates with their errors, and the p-values that they give: the one form in which every claim is tested.

An estimate is a mean over seeds, a mean over seeds on a sample of images, a median with a stored interval, or an exact
count. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev

LEVEL = 0.05


@dataclass(frozen=True)
class Estimate:
    """An estimate with what is known about its error: what all claims are tested by."""

    mean: float
    error: float  # standard error; toward lower values, where `error_above` is another
    freedom: float  # degrees of freedom of the error, Student's; infinite: normal
    error_above: float | None = None  # standard error toward higher values, where the interval is lopsided
    second_error: float = 0.0  # an independent one, of another kind, and its degrees of freedom
    second_freedom: float = math.inf
    least_p: float = 0.0  # the smallest p-value that data of this kind can give

    @classmethod
    def over_seeds(cls, values: Sequence[float]) -> Estimate:
        """The mean of one value per seed, at least 2."""
        return cls(fmean(values), stdev(values) / math.sqrt(len(values)), len(values) - 1)

    @classmethod
    def from_interval(cls, estimate: float, low: float, high: float, rounds: int) -> Estimate:
        """A median over `rounds` with its stored 95 % interval, of order statistics (the sign test inverted).

        At 5 % a test of it against one bound is exactly the sign test over rounds, because the interval is. Other
        levels are an approximation: the values of the rounds are not stored, so each half of the interval is taken for
        that of a normal distribution. No p-value is below the smallest that the sign test of so many rounds can give.
        Fewer than 6 rounds have no 95 % interval; their extremes count for what they cover. It says how well the
        machine's time was measured, not how much other machines would differ.

        For ratios the three numbers are logarithms.
        """
        least_p = min(1.0, 2 * 0.5**rounds)
        quantile = NormalDist().inv_cdf(1 - max(LEVEL, least_p) / 2)
        if quantile <= 0:  # one round
            return cls(estimate, math.inf, math.inf, least_p=least_p)
        below, above = (estimate - low) / quantile, (high - estimate) / quantile
        return cls(estimate, below, math.inf, error_above=above, least_p=least_p)

    @classmethod
    def exact(cls, count: float) -> Estimate:
        """What was counted, such as parameters: it has no error, so its p-values are 0 or 1.

        A p-value of 0 changes no other one in Holm's correction, so an exact claim takes nothing from its family.
        """
        return cls(count, 0.0, math.inf)

    def with_error(self, error: float, freedom: float) -> Estimate:
        """The same with an independent standard error of another kind.

        The half-widths of both intervals are added in quadrature, at every level, each with its own degrees of freedom.
        That errs on the safe side. Welch's and Satterthwaite's joint degrees of freedom do not: with few seeds whose
        spread happens to be small they come out far too large (`benchmarks/power.py` shows up to 20 % false verdicts).
        """
        if self.error_above is not None or self.second_error:
            raise ValueError("a lopsided estimate, or one with two errors, takes no other error")
        return replace(self, second_error=error, second_freedom=freedom)

    def interval(self, level: float = LEVEL) -> tuple[float, float, float]:
        """The mean and its (1 - level) interval."""
        below = self._half_width(level / 2, self.error)
        above = self._half_width(level / 2, self.error if self.error_above is None else self.error_above)
        return self.mean, self.mean - below, self.mean + above

    def _half_width(self, tail: float, error: float) -> float:
        first = error and error * _quantile(tail, self.freedom)
        return math.hypot(first, self.second_error and self.second_error * _quantile(tail, self.second_freedom))

    def p_inside(self, low: float = -math.inf, high: float = math.inf) -> float:
        """P-value against "the true value is outside (low, high)": a small one says that it is inside.

        With one finite bound this is the two-sided test against that bound; with two it is equivalence by two one-sided
        tests (TOST; Schuirmann, 1987), the larger of their p-values.
        """
        p = max(self.p_at_most(low), self.p_at_least(high))
        return self._possible(2 * p if math.isinf(low) or math.isinf(high) else p)

    def p_outside(self, low: float = -math.inf, high: float = math.inf) -> float:
        """P-value against "the true value is in (low, high)": a small one says that it is outside (two-sided)."""
        if math.isinf(self.freedom) and not (self.error or self.error_above or self.second_error):
            return 1.0 if low < self.mean < high else 0.0
        return self._possible(2 * min(self.p_at_least(low), self.p_at_most(high)))

    def p_at_most(self, bound: float) -> float:
        """One-sided p-value against "the true value is at most `bound`"."""
        return self._tail(self.mean - bound, self.error)

    def p_at_least(self, bound: float) -> float:
        """One-sided p-value against "the true value is at least `bound`"."""
        return self._tail(bound - self.mean, self.error if self.error_above is None else self.error_above)

    def _tail(self, excess: float, error: float) -> float:
        """The tail that the interval has to leave out so that its half-width is `excess`."""
        if math.isinf(excess):
            return 0.0 if excess > 0 else 1.0
        if not self.second_error:
            return _tail(excess, error, self.freedom)
        if not error:
            return _tail(excess, self.second_error, self.second_freedom)
        if excess < 0:
            return 1 - self._tail(-excess, error)
        low, high = 0.0, excess / error  # quantiles of the first error's distribution
        for _ in range(60):
            middle = (low + high) / 2
            tail = _tail(middle, 1.0, self.freedom)
            low, high = (middle, high) if self._half_width(tail, error) < excess else (low, middle)
        return _tail(high, 1.0, self.freedom)

    def _possible(self, p: float) -> float:
        return min(1.0, max(p, self.least_p))


def _tail(excess: float, error: float, freedom: float) -> float:
    """Probability that chance alone brings an estimate this far beyond a bound, in the direction of `excess`."""
    from scipy.special import stdtr

    if error == 0 or math.isinf(excess):
        return 0.0 if excess > 0 else 1.0
    t = -excess / error
    return NormalDist().cdf(t) if math.isinf(freedom) else float(stdtr(freedom, t))


def _quantile(tail: float, freedom: float) -> float:
    """The value that Student's t exceeds with a probability of `tail`."""
    from scipy.special import stdtrit

    if tail == 0:
        return math.inf
    return -(NormalDist().inv_cdf(tail) if math.isinf(freedom) else float(stdtrit(freedom, tail)))


def image_error(differences: Sequence[float]) -> float:
    """Standard error of a mean over images, each image a cluster of draws that count as one value.

    `differences` holds one paired difference per image, averaged over its draws and over training seeds. It says how
    much other images of the same kind would move the mean; images are taken as independent. NaN for fewer than 2.
    """
    n = len(differences)
    return stdev(differences) / math.sqrt(n) if n > 1 else math.nan


def log_ratio_terms(ours: Sequence[float], base: Sequence[float]) -> list[float]:
    """What each image contributes to log(mean of `ours` / mean of `base`): `image_error` of these is its error.

    Losses are per image, in the same order on both sides, each averaged over training seeds. The terms sum to zero;
    the error of a logarithm is taken to first order (delta method).
    """
    ours_mean, base_mean = fmean(ours), fmean(base)
    return [first / ours_mean - second / base_mean for first, second in zip(ours, base, strict=True)]


def loss_estimate(values: Sequence[float], differences: Sequence[float]) -> Estimate:
    """The mean of paired differences of losses over seeds, with the error of seeds and that of images in quadrature.

    `values` has one difference per training seed (at least 2), `differences` one per image (see `image_error`). All
    seeds share the images, so the images' error does not shrink with the number of seeds. What differs between images
    from seed to seed is in both errors, which errs on the safe side.
    """
    return Estimate.over_seeds(values).with_error(image_error(differences), len(differences) - 1)
