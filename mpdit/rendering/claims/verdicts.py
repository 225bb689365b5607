"""All claims of a study judged together: rows of claims.csv, corrected for their number, and what would decide them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from ...results import significance, summary
from ...results.estimates import LEVEL
from ..registry import ArtifactData, Claim, require_claims
from .evidence import Finding, Study
from .judgment import Judgment, Outcome, bounds, judge, to_unit
from .scores import final_scores
from .settings import NO_SETTINGS, without_controls
from .traces import curves

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "claim", "sentence", "model", "data", "paper", "ours", "low", "high", "unit", "n", "p", "p_holm", "family",
    "verdict", "decides", "remark", "setting", "metric", "protocol", "ema_width", "sampling_seeds", "sampling_error",
    "fixed_width", "fixed_ours", "fixed_low", "fixed_high", "holds_above", "holds_below", "reason", "lock",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """A judged claim on one model and data set: a row of claims.csv."""

    judgment: Judgment
    model: str
    data: str
    p_holm: float  # the p-value after Holm's correction within its family; NaN without a test
    tests: int  # number of tests that share the level
    family: Literal["primary", "exploratory"] = "exploratory"
    is_interim: bool = False  # the study is not finished
    lock: str = ""  # hash of the file that fixed the settings before the first run; empty without one

    @property
    def claim(self) -> Claim:
        return self.judgment.claim

    @property
    def finding(self) -> Finding:
        return self.judgment.finding

    @property
    def sentence(self) -> str:
        """The sentence of the claim, with the metric that decides."""
        return self.claim.sentence.replace("{metric}", self.finding.metric.label if self.finding.metric else "FID")

    @property
    def outcome(self) -> Outcome:
        outcome = self.judgment.outcome(self.p_holm)
        return "interim" if self.is_interim and outcome != "not run" else outcome

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
        finding = self.finding
        if finding.divergences or finding.interval:
            return self._in_unit(finding.interval or (math.nan, math.nan, math.nan))
        if finding.tested:
            return self._in_unit(finding.tested.interval())
        return self._in_unit(significance.t_interval(_finite(finding.values)))

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
        if self.finding.divergences:
            diverged, runs, base_diverged, base_runs = self.finding.divergences
            return f"{diverged} of {runs} runs diverged, against {base_diverged} of {base_runs}"
        return "within the sampling error" if self.within_sampling_error else ""

    @property
    def decides(self) -> str:
        """What would decide a claim that is undecided or was not run; empty for the others."""
        finding, values = self.finding, self.finding.values
        if self.outcome == "not run":
            return finding.missing
        if self.outcome == "withheld":
            return finding.withheld
        if self.outcome == "interim":
            return "the remaining runs"
        if self.outcome != "undecided":
            return ""
        if finding.divergences:
            return finding.needs or "more seeds, or fewer that diverge"
        if finding.seeds == 1 or len(values) == 1:
            return " and ".join(filter(None, ("at least 2 seeds, better 5", finding.needs)))
        if math.isnan(self.judgment.p) or not values:
            return finding.needs
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
            "claim": claim.name, "sentence": self.sentence, "model": self.model, "data": self.data,
            "paper": claim.published, "ours": ours[0], "low": ours[1], "high": ours[2], "unit": claim.unit,
            "n": self.n, "p": self.judgment.p, "p_holm": self.p_holm, "family": self.family, "verdict": self.outcome,
            "decides": self.decides, "remark": self.remark, "setting": finding.setting, "metric": finding.metric_label,
            "protocol": finding.protocol, "ema_width": finding.ema_width, "sampling_seeds": finding.sampling_seeds,
            "sampling_error": self.sampling_error, "fixed_width": finding.fixed_width,
            "fixed_ours": fixed[0], "fixed_low": fixed[1], "fixed_high": fixed[2],
            "holds_above": claim.low, "holds_below": claim.high, "reason": claim.reason,
            "lock": self.lock,
        }  # fmt: skip


def _finite(values: Sequence[float]) -> Sequence[float]:
    """The values, or none where one of them is infinite."""
    return values if all(map(math.isfinite, values)) else ()


def study_of(data: ArtifactData) -> Study:
    """The study that quantities read, without the runs of its controls.

    Raises UserError where two runs share setting and seed.
    """
    runs = without_controls(data["runs"], data.get("settings", NO_SETTINGS))
    summary.require_one_run_per_seed(runs)
    return Study(
        runs=runs.assign(standard_lr=runs["standard_lr"].eq(True)),
        final_scores=final_scores(runs, data["fid"]),
        curves=curves(data["magnitudes"]),
        cost=data.get("cost"),
        heldout=data.get("heldout"),
        heldout_images=data.get("heldout_images"),
    )


def verdicts(claims: Iterable[Claim], data: ArtifactData) -> list[Verdict]:
    """Every claim on every model and data set of the study, in the order of the claims.

    The primary claims are one family of Holm's correction, all others another one. Raises UserError where two runs
    share setting and seed, and where the study names a primary claim that is not registered.
    """
    claims, settings = list(claims), data.get("settings", NO_SETTINGS)
    require_claims(settings.primary)
    study = study_of(data)
    pairs = summary.in_order(study.runs)[["model", "data"]].drop_duplicates()
    models = list(pairs.itertuples(index=False, name=None)) or [("", "")]
    judged = [
        (judge(claim, finding), model, data_name)
        for claim in claims
        for model, data_name in models
        for finding in claim.quantity(study, model, data_name)
    ]
    families: list[Literal["primary", "exploratory"]] = [
        "primary" if settings.is_primary(judgment.claim) else "exploratory" for judgment, _, _ in judged
    ]
    p_values = [judgment.p for judgment, _, _ in judged]
    corrected = significance.holm_by_family(p_values, families)
    tests = {
        family: sum(not math.isnan(p) for p, own in zip(p_values, families, strict=True) if own == family)
        for family in families
    }
    return [
        Verdict(judgment, model, name, p, tests[family], family, data.get("interim", False), settings.lock_hash)
        for (judgment, model, name), p, family in zip(judged, corrected, families, strict=True)
    ]


def verdict_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The frame of claims.csv."""
    import pandas as pd

    return pd.DataFrame([verdict.record() for verdict in verdicts], columns=list(COLUMNS))
