"""What the runs say about the quantity of a claim: one value per seed, or an interval, with the setting in words.

A quantity is a function (study, model, data) -> list of `Finding`, with one finding for each way in which images were
sampled and scored: FIDs of different counts, samplers or features are never compared. Percentages and factors are
logarithms of ratios here, points are differences; `verdicts` converts them to the unit of the claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...results.estimates import Estimate
from ..deciding_metric import ScoreMetric
from ..names import modulation_name
from ..number_format import rate

if TYPE_CHECKING:
    import pandas as pd

    from ...results.rate_sweeps import Scores

    Curves = Mapping[str, Mapping[str, pd.Series]]  # name of a curve: run: values by step

Kind = Literal["score", "held-out loss", "best rates", "parameters", "step time", "magnitude"]


@dataclass(frozen=True)
class Study:
    """The aggregates of a study, as quantities read them."""

    runs: pd.DataFrame  # runs.csv
    final_scores: pd.DataFrame  # `scores.final_scores`
    curves: Curves  # `traces.curves`
    cost: pd.DataFrame | None  # cost.csv; None if it was not measured
    heldout: pd.DataFrame | None = None  # heldout.csv and heldout_images.csv; None if no pictures are held out
    heldout_images: pd.DataFrame | None = None


@dataclass(frozen=True)
class Finding:
    """What the runs say about one quantity in one setting."""

    kind: Kind | None = None
    setting: str = ""
    values: tuple[float, ...] = ()  # one per seed; infinite where one of the two runs diverged, the worst outcome
    estimate: Estimate | None = None  # what is tested, where it is not just the mean of `values`
    interval: tuple[float, float, float] | None = None  # instead of values: estimate, low, high
    sweeps: tuple[Scores, Scores] | None = None  # behind an interval of best rates: what is tested
    seeds: int = 0  # behind the interval; 0: it does not come from seeds
    divergences: tuple[int, int, int, int] | None = None  # diverged and all runs, of each side; None where all trained
    withheld: str = ""  # why no verdict is given whatever the values are; empty where one is
    missing: str = ""  # there is no finding: what would have to be run
    needs: str = ""  # the finding cannot decide: what could
    metric: ScoreMetric | None = None
    protocol: str = ""
    ema_width: str = ""  # of the runs behind `values`
    widths_chosen: bool = False  # each side has its own best EMA width
    sampling_error: float = math.nan  # half-width of the 95 % interval due to sampling seeds alone
    sampling_seeds: int = 0
    fixed_width: str = ""  # for comparison, the same width on both sides
    fixed: tuple[float, ...] = ()  # one per seed, at the fixed width

    @property
    def tested(self) -> Estimate | None:
        """The estimate with its error; None where there is none, as for a single seed or where a run diverged."""
        if self.estimate is not None:
            return self.estimate
        if len(self.values) > 1 and all(map(math.isfinite, self.values)):
            return Estimate.over_seeds(self.values)
        return None

    @property
    def metric_label(self) -> str:
        """What was measured, as claims.csv names it: a metric, or parameters, step time or magnitude."""
        return self.metric.label if self.metric else self.kind or ""


@dataclass(frozen=True)
class Side:
    """One of the two sides of a comparison: a configuration and modulation, at its own rate or at another's."""

    config: str
    modulation: str = "scale_shift"
    rate_of: str = ""

    @property
    def words(self) -> str:
        """`Config E with scale + shift at the rate of Config A`."""
        at_rate = f" at the rate of Config {self.rate_of}" if self.rate_of else ""
        return f"Config {self.config} with {modulation_name(self.modulation)}{at_rate}"


@dataclass(frozen=True)
class SideRuns:
    """The runs of a side, all of one learning rate, or what is missing."""

    side: Side
    runs: pd.DataFrame
    missing: str = ""


def runs_of_side(study: Study, model: str, data: str, side: Side) -> SideRuns:
    """The runs of a side. Where its configuration has several rates, the one under `learning_rates` is taken."""
    runs = study.runs
    runs = runs[(runs["model"] == model) & (runs["data"] == data) & (runs["modulation"] == side.modulation)]
    of_config, with_rate = runs[runs["config"] == side.config], runs[runs["config"] == (side.rate_of or side.config)]
    if with_rate["standard_lr"].any():
        with_rate = with_rate[with_rate["standard_lr"]]
    rates = with_rate["lr"].unique()
    if len(rates) > 1:
        config = side.rate_of or side.config
        return SideRuns(side, of_config.iloc[:0], f"a rate for Config {config} under learning_rates: it has several")
    members = of_config[of_config["lr"].isin(rates)]
    return SideRuns(side, members, "" if len(members) else f"runs of {side.words}")


NOT_TUNED = {
    "edge": "its search ended at an edge",
    "horizon": "its rate was tuned for another number of steps",
    "other": "its rate was tuned for other data or another recipe, or is not the one that tuning found",
    "given": "its rate was given, not tuned",
}


def not_tuned(*sides: SideRuns) -> str:
    """Which sides have a rate that was not tuned, and why; empty if there are none.

    A side at the rate of another configuration is not meant to be tuned.
    """
    words = []
    for side in sides:
        kinds = [kind if isinstance(kind, str) else "given" for kind in side.runs["tuning"].unique()]
        reasons = [NOT_TUNED[kind] for kind in kinds if kind in NOT_TUNED and not side.side.rate_of]
        words += [f"{side.side.words} is not tuned: {reason}" for reason in reasons]
    return "; ".join(dict.fromkeys(words))


def divergences(first: SideRuns, second: SideRuns) -> tuple[int, int, int, int] | None:
    """The number of runs of each side that diverged, and of those that have ended; None if none diverged."""
    counts = []
    for side in (first, second):
        statuses = list(side.runs["status"])
        diverged = statuses.count("diverged")
        counts += [diverged, diverged + statuses.count("trained")]
    return (counts[0], counts[1], counts[2], counts[3]) if counts[0] + counts[2] else None


def what_is_missing(*sides: SideRuns) -> str:
    """What is missing of these sides; empty if nothing is."""
    return " and ".join(filter(None, (side.missing for side in sides)))


def setting_words(*sides: SideRuns) -> str:
    """The sides with their learning rates, such as `E (2e-2) vs. A (1e-3), scale + shift`."""
    rates = [rate(side.runs["lr"].iloc[0]) for side in sides]
    modulations = [modulation_name(side.side.modulation) for side in sides]
    configs = [f"{side.side.config} ({lr})" for side, lr in zip(sides, rates, strict=True)]
    if len(set(modulations)) == 1:
        return f"{' vs. '.join(configs)}, {modulations[0]}"
    if len(set(configs)) == 1:
        return f"{configs[0]}, {' vs. '.join(modulations)}"
    return " vs. ".join(
        f"{side.side.config} ({lr}, {modulation})"
        for side, lr, modulation in zip(sides, rates, modulations, strict=True)
    )


def unfinished_words(*sides: SideRuns) -> str:
    """The runs that stand in the way of pairs, such as ` (E: 2 running; A: 1 missing)`; empty if there are none."""
    words = []
    for side in sides:
        counts = side.runs.loc[side.runs["status"] != "trained", "status"].value_counts(sort=False)
        if len(counts):
            words.append(f"{side.side.config}: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    return f" ({'; '.join(words)})" if words else ""


def seeds_words(with_values: int, first: SideRuns, second: SideRuns) -> str:
    """`; 3 of 5 seeds`, where some of the seeds that both sides plan have no values; empty otherwise."""
    planned = len(set(first.runs["seed"]) & set(second.runs["seed"]))
    return f"; {with_values} of {planned} seeds" if with_values < planned else ""
