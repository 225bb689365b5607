"""Scores that claims compare, paired by seed, each side at its own best EMA width where widths were swept.

FIDs of different counts, samplers, steps or features are never compared: there is one finding for each way in which
images were sampled and scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

from ...results import sampling_seeds, significance, summary
from ...results.sampling_seeds import BySeed
from ..deciding_metric import ScoreMetric, deciding_metric, has_too_few_samples
from ..number_format import rate
from ..protocol_words import shared_protocol
from .ema_widths import at_best_widths, at_fixed_width, at_own_widths, scores_by_seed, usual_or_only_width
from .evidence import (
    Finding,
    Side,
    SideRuns,
    Study,
    divergences,
    not_tuned,
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
    findings = [_finding(study, first, second, difference, fid_only, rows) for rows in by_protocol(own)]
    if not any(findings):
        missing = f"scores at the last step on the same seeds{unfinished_words(first, second)}"
        return [Finding(setting=setting_words(first, second), missing=missing)]
    return [finding for finding in findings if finding]


def _finding(
    study: Study, first: SideRuns, second: SideRuns, difference: Difference, fid_only: bool, scores: pd.DataFrame
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
    best = chosen or (fixed if fixed.pairs else at_own_widths(ours, theirs))
    if not best.pairs and not infinite:
        return None
    by_seed = {
        seed: {sampling_seed: _difference([pair], difference, metric) for sampling_seed, pair in pairs.items()}
        for seed, pairs in best.pairs.items()
    }
    by_pair = {seed: _difference(list(pairs.values()), difference, metric) for seed, pairs in best.pairs.items()}
    values = list(by_pair.values())
    needs = _what_could_decide(values, metric, scores, fid_only)
    beaten = [_beaten(side, study, scores) for side in (first, second)]
    return Finding(
        kind="score",
        setting=setting_words(first, second) + seeds_words(len(values) + len(infinite), first, second),
        values=(*values, *infinite),
        estimate=None if infinite or needs else sampling_seeds.estimate(by_pair, by_seed),
        divergences=divergences(first, second),
        withheld="; ".join(filter(None, (not_tuned(first, second), *beaten, sampling_seeds.one_for_all(by_seed)))),
        needs=needs,
        metric=metric,
        protocol=shared_protocol(scores, leave_out=("ema_width",)),
        ema_width=best.widths,
        widths_chosen=chosen is not None,
        sampling_error=math.nan if needs else sampling_error(by_seed),
        sampling_seeds=min(map(len, by_seed.values()), default=0),
        fixed_width=fixed.widths if fixed.pairs else "",
        fixed=tuple(_difference(list(pairs.values()), difference, metric) for pairs in fixed.pairs.values()),
    )


def sampling_error(by_seed: BySeed) -> float:
    """Half-width of the interval due to sampling seeds alone; NaN where no training seed has several."""
    return significance.sampling_error([list(own.values()) for own in by_seed.values()])


# ---------------------------------------------------------------------------------------------------------------------
# The rate of a side


def _beaten(side: SideRuns, study: Study, scores: pd.DataFrame) -> str:
    """Another rate of the study at which this side has better scores than at the one used; empty if there is none.

    Better is: on every one of two or more shared seeds, and in the mean by more than two standard errors.
    """
    if side.side.rate_of:
        return ""
    (used,) = side.runs["lr"].unique()
    own = side.runs.iloc[0]
    axes = ["model", "data", "config", "modulation"]
    runs = study.runs[(study.runs[axes] == own[axes]).all(axis=1)]
    protocol = scores.iloc[0]
    every = study.final_scores[study.final_scores["run"].isin(runs["run"])]
    for key in summary.PROTOCOL:
        if key not in ("ema_width", "reference_count"):
            every = every[every[key] == protocol[key]]
    metric = deciding_metric(scores)
    by_rate = scores_by_rate(every, runs, metric)
    better = [lr for lr in by_rate if lr != used and used in by_rate and is_better(by_rate[lr], by_rate[used])]
    if not better:
        return ""
    best = min(better, key=lambda lr: fmean(by_rate[lr].values()))
    return (
        f"{side.side.words} is better at {rate(best)} than at {rate(used)}, the rate used, on all seeds that both have "
        f"({metric.name})"
    )


def is_better(ours: Mapping[int, float], base: Mapping[int, float]) -> bool:
    """Whether all values of `ours` are lower on two or more shared seeds, and their mean by two standard errors."""
    differences = [ours[seed] - base[seed] for seed in set(ours) & set(base) if math.isfinite(ours[seed])]
    if len(differences) < 2 or max(differences) >= 0 or any(map(math.isinf, ours.values())):
        return False
    if any(map(math.isinf, differences)):
        return True
    return fmean(differences) < -2 * stdev(differences) / math.sqrt(len(differences))


def scores_by_rate(scores: pd.DataFrame, runs: pd.DataFrame, metric: ScoreMetric) -> dict[float, dict[int, float]]:
    """Scores by rate and seed, at the usual EMA width or at the only one of each run, on the sampling seeds that all
    runs of a seed share; infinite where a run diverged. Empty for fewer than two rates."""
    rows = scores[scores["run"].isin(runs["run"])]
    if rows.empty:
        return {}
    widths = rows.groupby("run")["ema_width"].agg(lambda own: usual_or_only_width(set(own)))
    rows = rows[rows["ema_width"] == rows["run"].map(widths)]
    drawn_of = rows.groupby("run")["sampling_seed"].agg(set)
    shared = {
        seed: set.intersection(*drawn_of[list(members.unique())]) for seed, members in rows.groupby("seed")["run"]
    }
    rows = rows[[drawn in shared[seed] for seed, drawn in zip(rows["seed"], rows["sampling_seed"], strict=True)]]
    means = rows.groupby(["lr", "seed"], as_index=False)[metric.column].mean()
    by_rate: dict[float, dict[int, float]] = {}
    for lr, seed, mean in zip(means["lr"], means["seed"], means[metric.column], strict=True):
        by_rate.setdefault(float(lr), {})[int(seed)] = float(mean)
    for lr, seed in runs.loc[runs["status"] == "diverged", ["lr", "seed"]].itertuples(index=False):
        by_rate.setdefault(float(lr), {})[int(seed)] = math.inf
    return dict(sorted(by_rate.items())) if len(by_rate) > 1 else {}


# ---------------------------------------------------------------------------------------------------------------------
# Differences


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
