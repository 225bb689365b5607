"""The rule by which every claim is judged: where a finding lies, how sure that is, and what would decide it.

A claim holds where its quantity lies between `low` and `high`, fails where it lies beyond, and is undecided where the
runs don't tell.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from ...results import significance as inference
from ...results import summary
from .evidence import Finding
from .scores import final_scores
from .traces import curves

INF = math.inf


@dataclass(frozen=True)
class Claim:
    """What the paper says, what of it is measured, and where it must lie, in `unit`."""

    name: str
    sentence: str
    paper: str  # its own numbers, or "" where it gives none
    quantity: Callable  # of evidence, scores or traces
    unit: str  # % or ×, of a ratio; points, of a difference
    low: float = -INF
    high: float = INF
    reason: str = ""  # of the bounds


COLUMNS = (
    "claim", "sentence", "model", "data", "paper", "ours", "low", "high", "unit", "n", "p", "p_holm", "verdict",
    "decides", "remark", "setting", "metric", "protocol", "ema_width", "sampling_seeds", "sampling_error",
    "fixed_width", "fixed_ours", "fixed_low", "fixed_high", "holds_above", "holds_below", "reason",
)  # fmt: skip


def logarithm(unit: str) -> Callable[[float], float]:
    """A number in `unit` as quantities have it: of percent and factors the logarithm of the ratio."""

    def of(shown: float) -> float:
        ratio = {"%": 1 + shown / 100, "×": shown}.get(unit)
        if ratio is None or shown == INF:
            return shown
        return math.log(ratio) if ratio > 0 else -INF

    return of


def shown(unit: str) -> Callable[[float], float]:
    """The inverse of `logarithm`."""
    return {"%": lambda x: 100 * math.expm1(x), "×": math.exp}.get(unit, float)


@dataclass(frozen=True)
class Judgement:
    """Of one finding: where it lies, how sure that is, and what would decide it where it is not."""

    claim: Claim
    finding: Finding
    p: float = math.nan  # of lying on the side where it lies; NaN without a test
    side: str = ""  # holds | fails: where it lies

    def verdict(self, p_holm: float) -> str:
        """`p_holm`: the p-value corrected for the number of claims, NaN without a test."""
        if self.finding.missing:
            return "not run"
        sure = p_holm < inference.LEVEL if self.p == self.p else self.finding.interval is not None
        return self.side if self.side and sure else "undecided"


def bounds(claim: Claim) -> tuple[float, float]:
    """Of the claim, as its quantity has them."""
    return logarithm(claim.unit)(claim.low), logarithm(claim.unit)(claim.high)


def judge(claim: Claim, finding: Finding) -> Judgement:
    """On which side of the claim's bounds a finding lies, with its p-value where it is a mean over seeds.

    An interval (of step times, of best rates) that lies whole inside holds, one that lies whole outside fails. Of seeds
    that diverged only the sign of the difference is known: the sign test, for claims of one bound.
    """
    low, high = bounds(claim)
    if finding.missing:
        return Judgement(claim, finding)
    if finding.interval:
        _, least, most = finding.interval
        inside, outside = low < least and most < high, most <= low or least >= high
        side = "" if finding.seeds == 1 else "holds" if inside else "fails" if outside else ""
        return Judgement(claim, finding, side=side)
    values, n = finding.values, len(finding.values)
    if n < 2 or finding.lacks:
        return Judgement(claim, finding)
    if any(map(math.isinf, values)):
        if math.isfinite(low) and math.isfinite(high):
            return Judgement(claim, replace(finding, lacks="seeds that don't diverge: else there is no size"))
        bound = low if math.isfinite(low) else high
        above, below = sum(value > bound for value in values), sum(value < bound for value in values)
        side = "" if above == below else "holds" if (above > below) == (bound == low) else "fails"
        return Judgement(claim, finding, inference.sign_test(above, below), side)
    mean, sd = fmean(values), stdev(values)
    inside = low < mean < high
    test = inference.p_inside if inside else inference.p_outside
    return Judgement(claim, finding, test(mean, sd, n, low, high), "holds" if inside else "fails")


def decides(judged: Judgement, verdict: str, tests: int) -> str:
    """What would decide a claim that is not decided; `tests`: how many claims share the level."""
    finding, values = judged.finding, judged.finding.values
    if verdict == "not run":
        return finding.missing.strip()
    if verdict != "undecided":
        return ""
    if finding.seeds == 1 or len(values) == 1:
        more = "2 seeds at least, better 5"
        return " and ".join(filter(None, (more, finding.lacks)))
    if judged.p != judged.p:
        return finding.lacks
    if any(map(math.isinf, values)):
        return "more seeds: of those that diverge only the sign is known"
    found = inference.seeds_needed(
        fmean(values), stdev(values), len(values), *bounds(judged.claim), inference.LEVEL / max(tests, 1)
    )
    return f"{found} seeds, if they spread as these do" if found else f"more than {inference.MOST_SEEDS:,} seeds"


def remark(judged: Judgement) -> str:
    """Whether chance among sampling seeds alone would explain the distance from the nearest bound; and divergence."""
    finding, values = judged.finding, judged.finding.values
    diverged = sum(map(math.isinf, values))
    if diverged:
        return f"one side diverged in {diverged} of {len(values)} seeds"
    if not values:
        return ""
    distance = min(abs(fmean(values) - bound) for bound in bounds(judged.claim) if math.isfinite(bound))
    return "within the sampling error" if distance < finding.sampling_error else ""


def row(judged: Judgement, model: str, data: str, p_holm: float, tests: int) -> dict:
    """The line of claims.csv."""
    claim, finding = judged.claim, judged.finding
    turn, verdict = shown(claim.unit), judged.verdict(p_holm)
    finite = finding.values if all(map(math.isfinite, finding.values)) else ()
    interval = finding.interval or inference.t_interval(finite)
    fixed = inference.t_interval(finding.fixed if all(map(math.isfinite, finding.fixed)) else ())
    return {
        **{key: getattr(claim, key) for key in ("sentence", "paper", "unit", "reason")},
        **{key: getattr(finding, key) for key in ("setting", "metric", "protocol", "ema_width", "fixed_width")},
        "claim": claim.name, "model": model, "data": data,
        **dict(zip(("ours", "low", "high"), map(turn, interval), strict=True)),
        **dict(zip(("fixed_ours", "fixed_low", "fixed_high"), map(turn, fixed), strict=True)),
        "n": len(finding.values) or finding.seeds, "p": judged.p, "p_holm": p_holm, "verdict": verdict,
        "decides": decides(judged, verdict, tests), "remark": remark(judged),
        "sampling_seeds": finding.sampling_seeds, "sampling_error": turn(finding.sampling_error) - turn(0.0),
        "holds_above": claim.low, "holds_below": claim.high,
    }  # fmt: skip


def verdicts(claims: Sequence[Claim], data: Mapping):
    """Frame of COLUMNS: every claim on every model and data set of the study, in the order of the claims."""
    import pandas as pd

    runs = data["runs"]
    summary.require_one_run_per_seed(runs)
    study = {
        "runs": runs.assign(standard_lr=runs["standard_lr"].astype(str) == "True"),
        "final": final_scores(runs, data["fid"]),
        "curves": curves(data["magnitudes"]),
        "cost": data.get("cost"),
    }
    places = list(summary.in_order(runs)[["model", "data"]].drop_duplicates().itertuples(index=False, name=None))
    judged = [
        (judge(claim, finding), *place)
        for claim in claims
        for place in places or [("", "")]
        for finding in claim.quantity(study, *place)
    ]
    tested = [judgement.p for judgement, *_ in judged if judgement.p == judgement.p]
    corrected = iter(inference.holm(tested))
    rows = [
        row(judgement, *place, next(corrected) if judgement.p == judgement.p else math.nan, len(tested))
        for judgement, *place in judged
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
