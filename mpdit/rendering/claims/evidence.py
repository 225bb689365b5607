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

from ..deciding_metric import ScoreMetric
from ..names import modulation_name
from ..number_format import rate

if TYPE_CHECKING:
    import pandas as pd

    Curves = Mapping[str, Mapping[str, pd.Series]]  # name of a curve: run: values by step

Kind = Literal["score", "best rates", "parameters", "step time", "magnitude"]


@dataclass(frozen=True)
class Study:
    """The aggregates of a study, as quantities read them."""

    runs: pd.DataFrame  # runs.csv
    final_scores: pd.DataFrame  # `scores.final_scores`
    curves: Curves  # `traces.curves`
    cost: pd.DataFrame | None  # cost.csv; None if it was not measured


@dataclass(frozen=True)
class Finding:
    """What the runs say about one quantity in one setting."""

    kind: Kind | None = None
    setting: str = ""
    values: tuple[float, ...] = ()  # one per seed; infinite where one of the two runs diverged, the worst outcome
    interval: tuple[float, float, float] | None = None  # instead of values: estimate, low, high; equal if counted
    seeds: int = 0  # behind the interval; 0: it does not come from seeds
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
