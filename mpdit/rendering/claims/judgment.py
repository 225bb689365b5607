"""The rule that judges every claim: on which side of its bounds a finding is, and how sure that is.

A claim holds where its quantity is between `low` and `high`, fails where it is outside, and is undecided where the runs
cannot tell. The verdict is withheld where the comparison itself is not fair.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ...results import rate_sweeps, significance
from ...results.estimates import LEVEL
from ..registry import Claim, Unit
from .evidence import Finding

Outcome = Literal["holds", "fails", "undecided", "withheld", "interim", "not run"]
Side = Literal["holds", "fails"]


def from_unit(unit: Unit) -> Callable[[float], float]:
    """A function from a number in `unit` to the scale of quantities: logarithms of ratios for percent and factors."""

    def convert(number: float) -> float:
        if unit == "points" or number == math.inf:
            return number
        ratio = 1 + number / 100 if unit == "%" else number
        return math.log(ratio) if ratio > 0 else -math.inf

    return convert


def to_unit(unit: Unit) -> Callable[[float], float]:
    """The inverse of `from_unit`."""
    inverses: dict[str, Callable[[float], float]] = {"%": lambda x: 100 * math.expm1(x), "×": math.exp, "points": float}
    return inverses[unit]


def bounds(claim: Claim) -> tuple[float, float]:
    """The bounds of a claim on the scale of its quantity."""
    convert = from_unit(claim.unit)
    return convert(claim.low), convert(claim.high)


@dataclass(frozen=True)
class Judgment:
    """On which side of the bounds of a claim a finding is, and how sure that is."""

    claim: Claim
    finding: Finding
    p: float = math.nan  # p-value for being on that side; NaN without a test
    side: Side | None = None  # None: neither

    def outcome(self, p_holm: float) -> Outcome:
        """The verdict, given the p-value corrected for the number of tests (NaN without a test)."""
        if self.finding.missing:
            return "not run"
        if self.finding.withheld:
            return "withheld"
        return self.side if self.side and p_holm < LEVEL else "undecided"


def judge(claim: Claim, finding: Finding) -> Judgment:
    """Judge one finding: by the test of its estimate, of its sweeps of rates, or of how often runs diverged.

    All of them give a p-value, so that all take part in the correction for the number of claims. Where runs diverged
    only that is compared, never the scores of those that are left; it decides claims with one bound.
    """
    low, high = bounds(claim)
    if finding.missing or finding.withheld:
        return Judgment(claim, finding)
    if finding.divergences:
        return _judge_divergences(claim, finding, low, high)
    if finding.seeds == 1 or (finding.needs and not finding.interval):
        return Judgment(claim, finding)
    if finding.sweeps:
        p, is_inside = rate_sweeps.p_of_ratio(*finding.sweeps, low, high)
        return Judgment(claim, finding, p, None if is_inside is None else "holds" if is_inside else "fails")
    estimate = finding.tested
    if estimate is None or math.isnan(estimate.mean):
        return Judgment(claim, finding)
    if low < estimate.mean < high:
        return Judgment(claim, finding, estimate.p_inside(low, high), "holds")
    return Judgment(claim, finding, estimate.p_outside(low, high), "fails")


def _judge_divergences(claim: Claim, finding: Finding, low: float, high: float) -> Judgment:
    """Judge by Fisher's exact test of the number of runs that diverged on either side: more is the worse."""
    assert finding.divergences
    diverged, runs, base_diverged, base_runs = finding.divergences
    p = significance.divergence_test(diverged, runs, base_diverged, base_runs)
    if math.isfinite(low) and math.isfinite(high):
        needs = "seeds that do not diverge: the size of the difference is unknown for those that do"
        return Judgment(claim, replace(finding, needs=needs))
    if p is None:
        needs = f"{significance.FEWEST_RUNS} or more seeds: how often runs diverge cannot be compared with fewer"
        return Judgment(claim, replace(finding, needs=needs))
    excess = diverged / runs - base_diverged / base_runs
    if not excess:
        return Judgment(claim, finding, p)
    return Judgment(claim, finding, p, "holds" if (excess > 0) == math.isfinite(low) else "fails")
