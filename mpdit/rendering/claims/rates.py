"""The ratio of the best learning rates of two configurations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...results import rate_sweeps, sampling_seeds
from ...results.estimates import LEVEL
from ..deciding_metric import ScoreMetric, deciding_metric
from ..names import joined
from ..number_format import rate
from ..protocol_words import shared_protocol
from .ema_widths import USUAL_WIDTH
from .evidence import Finding, Side, SideRuns, Study, unfinished_words
from .scores import by_protocol, scores_by_rate

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Quantity


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
        first, second = (Sweep(side.side.config, scores_by_rate(rows, side.runs, metric)) for side in sides)
        if all(sweep.scores and sweep.shared_seeds for sweep in (first, second)):
            findings.append(_rate_ratio(first, second, metric, rows))
    return findings or [
        Finding(missing=f"scores at the last step at two or more rates of each configuration{unfinished_words(*sides)}")
    ]


@dataclass(frozen=True)
class Sweep:
    """Scores of a configuration at several learning rates; infinite where a run diverged."""

    config: str
    scores: dict[float, dict[int, float]]  # learning rate: seed: score

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
        """The grid points around those that may be the best with 97.5 % confidence; 0 or infinite beyond the sweep."""
        return rate_sweeps.widened(rate_sweeps.maybe_best(self.scores, LEVEL / 2), list(self.scores))


def _shared_sampling_seeds(scores: pd.DataFrame) -> str:
    """Why nothing can be said where training seeds share sampling seeds; empty where they do not."""
    if not sampling_seeds.any_shared(scores[["seed", "sampling_seed"]].itertuples(index=False, name=None)):
        return ""
    return (
        "training seeds share sampling seeds, whose error these tests do not have: set sampling.seeds to paired, or "
        "give each training seed its own"
    )


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
    low, high = rate_sweeps.log_ratio_range(ours.scores, base.scores, LEVEL)
    swept = "; ".join(f"{sweep.config} at {', '.join(map(rate, sweep.scores))}" for sweep in sweeps)
    return Finding(
        kind="best rates",
        setting=f"{swept}; best rates {' and '.join(rate(sweep.best) for sweep in sweeps)}",
        interval=(math.log(ours.best / base.best), low, high),
        sweeps=(ours.scores, base.scores),
        withheld=_shared_sampling_seeds(scores),
        seeds=min(len(sweep.shared_seeds) for sweep in sweeps),
        needs=" and ".join(open_ends),
        metric=metric,
        protocol=shared_protocol(scores, leave_out=("ema_width",)),
        ema_width=USUAL_WIDTH if USUAL_WIDTH in set(scores["ema_width"]) else scores["ema_width"].iloc[0],
    )
