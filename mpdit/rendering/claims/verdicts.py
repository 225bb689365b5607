"""The rule that judges every claim: on which side of its bounds a finding is, how sure that is, what would decide it.

A claim holds where its quantity is between `low` and `high`, fails where it is outside, and is undecided where the runs
cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from ...results import significance, summary
from ...results.estimates import LEVEL
from ..registry import ArtifactData, Claim, Unit
from .evidence import Finding, Study
from .scores import final_scores
from .traces import curves

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["holds", "fails", "undecided", "not run"]

COLUMNS = (
    "claim", "sentence", "model", "data", "paper", "ours", "low", "high", "unit", "n", "p", "p_holm", "verdict",
    "decides", "remark", "setting", "metric", "protocol", "ema_width", "sampling_seeds", "sampling_error",
    "fixed_width", "fixed_ours", "fixed_low", "fixed_high", "holds_above", "holds_below", "reason",
)  # fmt: skip


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


# ---------------------------------------------------------------------------------------------------------------------
# One finding


@dataclass(frozen=True)
class Judgment:
    """On which side of the bounds of a claim a finding is, and how sure that is."""

    claim: Claim
    finding: Finding
    p: float = math.nan  # p-value for being on that side; NaN without a test
    side: Literal["holds", "fails"] | None = None  # None: neither

    def outcome(self, p_holm: float) -> Outcome:
        """The verdict, given the p-value corrected for the number of tests (NaN without a test)."""
        if self.finding.missing:
            return "not run"
        has_test = not math.isnan(self.p)
        sure = p_holm < LEVEL if has_test else self.finding.interval is not None
        return self.side if self.side and sure else "undecided"


def judge(claim: Claim, finding: Finding) -> Judgment:
    """Judge one finding: by a test where it is a mean over seeds, otherwise by its interval.

    An interval (of step times, of best rates) decides if it is entirely inside the bounds, or entirely outside. Where
    seeds diverged only the sign of the difference is known, which leaves the sign test, for claims with one bound.
    """
    low, high = bounds(claim)
    if finding.missing:
        return Judgment(claim, finding)
    if finding.interval:
        return Judgment(claim, finding, side=_side_of_interval(finding, low, high))
    values, n = finding.values, len(finding.values)
    if n < 2 or finding.needs:
        return Judgment(claim, finding)
    if any(map(math.isinf, values)):
        if math.isfinite(low) and math.isfinite(high):
            needs = "seeds that do not diverge: the size of the difference is unknown for those that do"
            return Judgment(claim, replace(finding, needs=needs))
        return _sign_test(claim, finding, low, high)
    mean, sd = fmean(values), stdev(values)
    if low < mean < high:
        return Judgment(claim, finding, significance.p_inside(mean, sd, n, low, high), "holds")
    return Judgment(claim, finding, significance.p_outside(mean, sd, n, low, high), "fails")


def _side_of_interval(finding: Finding, low: float, high: float) -> Literal["holds", "fails"] | None:
    assert finding.interval
    _, lowest, highest = finding.interval
    if finding.seeds == 1:
        return None
    if low < lowest and highest < high:
        return "holds"
    return "fails" if highest <= low or lowest >= high else None


def _sign_test(claim: Claim, finding: Finding, low: float, high: float) -> Judgment:
    """Judge by the number of seeds on each side of the one finite bound."""
    bound = low if math.isfinite(low) else high
    above, below = sum(value > bound for value in finding.values), sum(value < bound for value in finding.values)
    p = significance.sign_test(above, below)
    if above == below:
        return Judgment(claim, finding, p)
    return Judgment(claim, finding, p, "holds" if (above > below) == (bound == low) else "fails")


# ---------------------------------------------------------------------------------------------------------------------
# All claims of a study


@dataclass(frozen=True)
class Verdict:
    """A judged claim on one model and data set: a row of claims.csv."""

    judgment: Judgment
    model: str
    data: str
    p_holm: float  # the p-value after Holm's correction; NaN without a test
    tests: int  # number of tests that share the level

    @property
    def claim(self) -> Claim:
        return self.judgment.claim

    @property
    def finding(self) -> Finding:
        return self.judgment.finding

    @property
    def outcome(self) -> Outcome:
        return self.judgment.outcome(self.p_holm)

    @property
    def was_run(self) -> bool:
        return not self.finding.missing

    @property
    def n(self) -> int:
        """Number of seeds; 0 for what is counted or timed."""
        return len(self.finding.values) or self.finding.seeds

    @property
    def ours(self) -> tuple[float, float, float]:
        """Estimate and 95 % interval in the unit of the claim; NaN where unknown."""
        return self._in_unit(self.finding.interval or significance.t_interval(_finite(self.finding.values)))

    @property
    def fixed(self) -> tuple[float, float, float]:
        """The same with one EMA width on both sides."""
        return self._in_unit(significance.t_interval(_finite(self.finding.fixed)))

    def _in_unit(self, interval: tuple[float, float, float]) -> tuple[float, float, float]:
        convert = to_unit(self.claim.unit)
        estimate, low, high = interval
        return convert(estimate), convert(low), convert(high)

    @property
    def sampling_error(self) -> float:
        """Half-width of the 95 % interval due to sampling seeds alone, in the unit of the claim."""
        convert = to_unit(self.claim.unit)
        return convert(self.finding.sampling_error) - convert(0.0)

    @property
    def within_sampling_error(self) -> bool:
        """Whether chance among sampling seeds alone could explain the distance from the nearest bound."""
        values = self.finding.values
        if not values or any(map(math.isinf, values)):
            return False
        distance = min(abs(fmean(values) - bound) for bound in bounds(self.claim) if math.isfinite(bound))
        return distance < self.finding.sampling_error

    @property
    def remark(self) -> str:
        """What a reader should know about the values; usually empty."""
        diverged = sum(map(math.isinf, self.finding.values))
        if diverged:
            return f"one side diverged in {diverged} of {len(self.finding.values)} seeds"
        return "within the sampling error" if self.within_sampling_error else ""

    @property
    def decides(self) -> str:
        """What would decide a claim that is undecided or was not run; empty for the others."""
        finding, values = self.finding, self.finding.values
        if self.outcome == "not run":
            return finding.missing
        if self.outcome != "undecided":
            return ""
        if finding.seeds == 1 or len(values) == 1:
            return " and ".join(filter(None, ("at least 2 seeds, better 5", finding.needs)))
        if math.isnan(self.judgment.p):
            return finding.needs
        if any(map(math.isinf, values)):
            return "more seeds: only the sign is known for those that diverged"
        level = LEVEL / max(self.tests, 1)
        needed = significance.seeds_needed(fmean(values), stdev(values), len(values), *bounds(self.claim), level)
        if needed is None:
            return f"more than {significance.MOST_SEEDS:,} seeds"
        return f"{needed} seeds, if their spread stays the same"

    def record(self) -> dict[str, Any]:
        """The row of claims.csv, by column."""
        claim, finding = self.claim, self.finding
        ours, fixed = self.ours, self.fixed
        return {
            "claim": claim.name, "sentence": claim.sentence, "model": self.model, "data": self.data,
            "paper": claim.published, "ours": ours[0], "low": ours[1], "high": ours[2], "unit": claim.unit,
            "n": self.n, "p": self.judgment.p, "p_holm": self.p_holm, "verdict": self.outcome, "decides": self.decides,
            "remark": self.remark, "setting": finding.setting, "metric": finding.metric_label,
            "protocol": finding.protocol, "ema_width": finding.ema_width, "sampling_seeds": finding.sampling_seeds,
            "sampling_error": self.sampling_error, "fixed_width": finding.fixed_width,
            "fixed_ours": fixed[0], "fixed_low": fixed[1], "fixed_high": fixed[2],
            "holds_above": claim.low, "holds_below": claim.high, "reason": claim.reason,
        }  # fmt: skip


def _finite(values: Sequence[float]) -> Sequence[float]:
    """The values, or none where one of them is infinite."""
    return values if all(map(math.isfinite, values)) else ()


def verdicts(claims: Iterable[Claim], data: ArtifactData) -> list[Verdict]:
    """Every claim on every model and data set of the study, in the order of the claims.

    Raises UserError where two runs share setting and seed.
    """
    runs = data["runs"]
    summary.require_one_run_per_seed(runs)
    study = Study(
        runs=runs.assign(standard_lr=runs["standard_lr"].eq(True)),
        final_scores=final_scores(runs, data["fid"]),
        curves=curves(data["magnitudes"]),
        cost=data.get("cost"),
    )
    pairs = summary.in_order(runs)[["model", "data"]].drop_duplicates()
    models = list(pairs.itertuples(index=False, name=None)) or [("", "")]
    judged = [
        (judge(claim, finding), model, data_name)
        for claim in claims
        for model, data_name in models
        for finding in claim.quantity(study, model, data_name)
    ]
    p_values = [judgment.p for judgment, _, _ in judged if not math.isnan(judgment.p)]
    corrected = iter(significance.holm(p_values))
    return [
        Verdict(judgment, model, name, math.nan if math.isnan(judgment.p) else next(corrected), len(p_values))
        for judgment, model, name in judged
    ]


def verdict_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The frame of claims.csv."""
    import pandas as pd

    return pd.DataFrame([verdict.record() for verdict in verdicts], columns=list(COLUMNS))
