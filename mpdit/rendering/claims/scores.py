"""Scores that claims compare, paired by seed, each side at its own best EMA width where widths were swept.

FIDs of different counts, samplers, steps or features are never compared: there is one finding for each way in which
images were sampled and scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from ...results import significance, summary
from ..deciding_metric import ScoreMetric, deciding_metric, has_too_few_samples
from ..protocol_words import shared_protocol
from .ema_widths import at_best_widths, at_fixed_width, scores_by_seed
from .evidence import (
    Finding,
    Side,
    SideRuns,
    Study,
    runs_of_side,
    seeds_words,
    setting_words,
    unfinished_words,
    what_is_missing,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Quantity

Difference = Literal["ratio", "points"]


def final_scores(runs: pd.DataFrame, fid: pd.DataFrame) -> pd.DataFrame:
    """Rows of fid.csv for trained runs at their last step, with EMA widths as text (`none`: the plain weights)."""
    ends = runs[["run"]].assign(training_steps=runs["steps"], status=runs["status"])
    fid = fid.assign(ema_width=fid["ema_width"].map(_width_text)).merge(ends, on="run")
    return fid[(fid["step"] == fid["training_steps"]) & (fid["status"] == "trained")]


def _width_text(width: float) -> str:
    return "none" if math.isnan(width) else f"{width:g}"


def by_protocol(scores: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of each way in which images were sampled and scored, whatever the EMA width."""
    keys = [key for key in summary.PROTOCOL if key != "ema_width"]
    return (rows for _, rows in scores.groupby(keys, sort=False, dropna=False))


def score(ours: Side, base: Side, difference: Difference, fid_only: bool = False) -> Quantity:
    """The score of `ours` relative to that of `base`, by seed: the logarithm of the ratio, or the difference in points.

    The metric is KID where there are too few samples for FID, and FID otherwise. `fid_only`: the claim is about the
    size of a difference in FID, which neither KID nor the distance of other features can settle.
    """
    return partial(_score, ours, base, difference, fid_only)


def _score(
    ours: Side, base: Side, difference: Difference, fid_only: bool, study: Study, model: str, data: str
) -> list[Finding]:
    first, second = (runs_of_side(study, model, data, side) for side in (ours, base))
    if missing := what_is_missing(first, second):
        return [Finding(missing=missing)]
    if set(first.runs["run"]) == set(second.runs["run"]):
        return [Finding(missing=f"runs of {ours.words} at a rate of its own")]
    own = study.final_scores[study.final_scores["run"].isin([*first.runs["run"], *second.runs["run"]])]
    findings = [_finding(first, second, difference, fid_only, rows) for rows in by_protocol(own)]
    if not any(findings):
        missing = f"scores at the last step on the same seeds{unfinished_words(first, second)}"
        return [Finding(setting=setting_words(first, second), missing=missing)]
    return [finding for finding in findings if finding]


def _finding(
    first: SideRuns, second: SideRuns, difference: Difference, fid_only: bool, scores: pd.DataFrame
) -> Finding | None:
    """What the scores of one protocol say; None if there is no seed that both sides have."""
    metric = deciding_metric(scores)
    ours, theirs = (scores_by_seed(scores, side.runs, metric.column) for side in (first, second))
    seeds = sorted(set(first.runs["seed"]) & set(second.runs["seed"]))
    diverged = [set(side.runs.loc[side.runs["status"] == "diverged", "seed"]) for side in (first, second)]
    infinite = [math.inf for seed in seeds if seed in diverged[0] and seed in theirs.index]
    infinite += [-math.inf for seed in seeds if seed in diverged[1] and seed in ours.index]
    fixed = at_fixed_width(ours, theirs)
    scored = fixed.pairs or set(ours.index) & set(theirs.index)
    chosen = at_best_widths(ours, theirs, [seed for seed in seeds if seed in scored])
    best = chosen or fixed
    if not best.pairs and not infinite:
        return None
    values = [_difference(pairs, difference, metric) for pairs in best.pairs.values()]
    by_sampling_seed = [[_difference([pair], difference, metric) for pair in pairs] for pairs in best.pairs.values()]
    needs = _what_could_decide(values, metric, scores, fid_only)
    return Finding(
        kind="score",
        setting=setting_words(first, second) + seeds_words(len(values) + len(infinite), first, second),
        values=(*values, *infinite),
        needs=needs,
        metric=metric,
        protocol=shared_protocol(scores, leave_out=("ema_width",)),
        ema_width=best.widths,
        widths_chosen=chosen is not None,
        sampling_error=math.nan if needs else significance.sampling_error(by_sampling_seed),
        sampling_seeds=min(map(len, by_sampling_seed), default=0),
        fixed_width=fixed.widths if fixed.pairs else "",
        fixed=tuple(_difference(pairs, difference, metric) for pairs in fixed.pairs.values()),
    )


def _difference(pairs: Sequence[tuple[float, float]], difference: Difference, metric: ScoreMetric) -> float:
    """Difference of the means of both sides over sampling seeds: a logarithm, or points (of KID: thousandths)."""
    first, second = (sum(scores, 0.0) / len(scores) for scores in zip(*pairs, strict=True))
    if difference == "points":
        return (first - second) * (1000 if metric.is_kernel_distance else 1)
    return math.log(first / second) if min(first, second) > 0 else math.nan


def _what_could_decide(values: Sequence[float], metric: ScoreMetric, scores: pd.DataFrame, fid_only: bool) -> str:
    """What it would take for scores of this kind to decide the claim; empty if these can."""
    if any(map(math.isnan, values)):
        return f"more samples: {metric.label} is not above zero, so it has no ratio"
    if not metric.is_kernel_distance and has_too_few_samples(scores):
        return f"five samples per feature, or a kernel distance as well: {metric.label} is biased"
    if fid_only and metric != ScoreMetric("fid", "inception"):
        return (
            "FID, with Inception's features and at least 10,000 samples: "
            f"{metric.label} cannot decide the size of a difference in FID"
        )
    return ""
