"""The ratio of the best learning rates of two configurations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...results import rate_sweeps
from ...results.estimates import LEVEL
from ..deciding_metric import ScoreMetric, deciding_metric
from ..names import joined
from ..number_format import rate
from ..protocol_words import shared_protocol
from .ema_widths import USUAL_WIDTH, usual_or_only_width
from .evidence import Finding, Side, SideRuns, Study, unfinished_words
from .scores import by_protocol

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Quantity

Scores = dict[float, dict[int, float]]  # learning rate: seed: score


def best_rates(ours: str, base: str) -> Quantity:
    """The best learning rate of one configuration over that of another, with scale + shift: a logarithm with its
    interval."""
    return partial(_best_rates, ours, base)


def _best_rates(ours: str, base: str, study: Study, model: str, data: str) -> list[Finding]:
    runs = study.runs
    runs = runs[(runs["model"] == model) & (runs["data"] == data) & (runs["modulation"] == "scale_shift")]
    sides = [SideRuns(Side(config), runs[runs["config"] == config]) for config in (ours, base)]
    few = [f"Config {side.side.config}" for side in sides if side.runs["lr"].nunique() < 2]
    if few:
        return [Finding(missing=f"runs of {joined(few)} at several learning rates")]
    own = study.final_scores[study.final_scores["run"].isin([run for side in sides for run in side.runs["run"]])]
    findings = []
    for rows in by_protocol(own):
        metric = deciding_metric(rows)
        first, second = (Sweep(side.side.config, _scores_by_rate(rows, side.runs, metric)) for side in sides)
        if all(sweep.scores and sweep.shared_seeds for sweep in (first, second)):
            findings.append(_rate_ratio(first, second, metric, rows))
    return findings or [
        Finding(missing=f"scores at the last step at two or more rates of each configuration{unfinished_words(*sides)}")
    ]


@dataclass(frozen=True)
class Sweep:
    """Scores of a configuration at several learning rates; infinite where a run diverged."""

    config: str
    scores: Scores

    @property
    def shared_seeds(self) -> set[int]:
        """The seeds that have a score at every rate."""
        return set.intersection(*map(set, self.scores.values()))

    @property
    def best(self) -> float:
        """The rate with the lowest mean over shared seeds."""
        seeds = self.shared_seeds
        means = {lr: sum(scores[seed] for seed in seeds) / max(len(seeds), 1) for lr, scores in self.scores.items()}
        return min(means, key=lambda lr: means[lr])

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest rate that may be the best, with 97.5 % confidence.

        A best rate at an end of the sweep leaves the interval open there (0 or infinity): a better one may lie beyond.
        """
        may_be_best = rate_sweeps.maybe_best(self.scores, LEVEL / 2)
        low, high = min(may_be_best), max(may_be_best)
        return (0.0 if low == min(self.scores) else low), (math.inf if high == max(self.scores) else high)


def _scores_by_rate(scores: pd.DataFrame, runs: pd.DataFrame, metric: ScoreMetric) -> Scores:
    """Scores at the usual EMA width by rate and seed, on the sampling seeds that all runs share."""
    rows = scores[scores["run"].isin(runs["run"])]
    rows = rows[rows["ema_width"] == usual_or_only_width(set(rows["ema_width"]))]
    sampling_seeds = rows.groupby("run")["sampling_seed"].agg(set)
    if not sampling_seeds.size:
        return {}
    rows = rows[rows["sampling_seed"].isin(set.intersection(*sampling_seeds))]
    means = rows.groupby(["lr", "seed"], as_index=False)[metric.column].mean()
    by_rate: Scores = {}
    for lr, seed, mean in means.to_numpy().tolist():
        by_rate.setdefault(lr, {})[int(seed)] = mean
    for lr, seed in runs.loc[runs["status"] == "diverged", ["lr", "seed"]].itertuples(index=False):
        by_rate.setdefault(lr, {})[seed] = math.inf
    return dict(sorted(by_rate.items())) if len(by_rate) > 1 else {}


def _rate_ratio(ours: Sweep, base: Sweep, metric: ScoreMetric, scores: pd.DataFrame) -> Finding:
    """The ratio of the best rates, with 97.5 % confidence for each so that both together have 95 %."""
    sweeps = (ours, base)
    open_ends = [
        f"runs of Config {sweep.config} {beyond} {rate(end)}"
        for sweep in sweeps
        for beyond, bound, end in (
            ("below", sweep.bounds[0], min(sweep.scores)),
            ("above", sweep.bounds[1], max(sweep.scores)),
        )
        if bound in (0.0, math.inf)
    ]
    low = ours.bounds[0] / base.bounds[1] if base.bounds[1] else 0.0
    high = ours.bounds[1] / base.bounds[0] if base.bounds[0] else math.inf
    swept = "; ".join(f"{sweep.config} at {', '.join(map(rate, sweep.scores))}" for sweep in sweeps)
    return Finding(
        kind="best rates",
        setting=f"{swept}; best rates {' and '.join(rate(sweep.best) for sweep in sweeps)}",
        interval=(math.log(ours.best / base.best), math.log(low) if low > 0 else -math.inf, math.log(high)),
        seeds=min(len(sweep.shared_seeds) for sweep in sweeps),
        needs=" and ".join(open_ends),
        metric=metric,
        protocol=shared_protocol(scores, leave_out=("ema_width",)),
        ema_width=USUAL_WIDTH if USUAL_WIDTH in set(scores["ema_width"]) else scores["ema_width"].iloc[0],
    )
