"""Magnitudes that claims compare: how much they grow over training and across blocks, and where they peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .evidence import (
    Finding,
    Side,
    SideRuns,
    Study,
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
    from .evidence import Curves

STREAM = "residual stream"
ACROSS_BLOCKS = "residual stream across blocks"
MLP_INPUT = "MLP input"
CORRELATED = "residual stream on correlated inputs"
WEIGHTS = "weights"
PLAIN_WEIGHTS = "plain weights"


@dataclass(frozen=True)
class Measure:
    """A number made of a curve of one run: a logarithm."""

    curve: str
    of: Callable[[pd.Series], float]  # the values of the curve by step


def growth(curve: str) -> Measure:
    """The last value of a curve over the first, at initialization."""
    return Measure(curve, lambda values: math.log(values.iloc[-1] / values.iloc[0]))


def peak(curve: str) -> Measure:
    """The highest value of a curve during training over its first."""
    return Measure(curve, lambda values: math.log(values.max() / values.iloc[0]))


def final(curve: str) -> Measure:
    """The value of a curve after training."""
    return Measure(curve, lambda values: math.log(values.iloc[-1]))


# ---------------------------------------------------------------------------------------------------------------------
# Curves

KEY = ["run", "step", "block"]


def curves(magnitudes: pd.DataFrame) -> Curves:
    """Values by step of each run, by name of the curve; means over noise levels.

    STREAM: the residual stream after each block, mean over blocks. ACROSS_BLOCKS: the stream after the last block over
    the one that enters the first. MLP_INPUT: the input of the MLP over the stream after the same block, in the block
    where that is highest. CORRELATED: STREAM on the most correlated inputs over STREAM on independent ones. WEIGHTS:
    norms of rows as stored, at initialization and as averaged by the EMA, mean over blocks. PLAIN_WEIGHTS: the same of
    the weights themselves, at initialization and at the last step.
    """
    activations = magnitudes[magnitudes["kind"] == "activation"]
    streams, inputs = (
        activations[activations["site"] == site].groupby(KEY)["magnitude"].mean() for site in ("residual", "mlp_input")
    )
    is_block = streams.index.get_level_values("block") >= 0
    entering, leaving = streams[~is_block].droplevel("block"), streams[is_block]
    weights = magnitudes[(magnitudes["kind"] == "weight") & (magnitudes["site"] == "all") & (magnitudes["block"] >= 0)]
    weights = weights[weights["block"] < weights.groupby("run")["block"].transform("max")]  # without the final layer
    is_averaged, norms = weights["ema_width"].notna(), weights.set_index(["run", "step"])["magnitude"]
    by_run_and_step = {
        STREAM: _of_blocks(leaving).mean(),
        ACROSS_BLOCKS: _of_blocks(leaving).last() / entering,
        MLP_INPUT: _of_blocks(inputs / leaving).max(),
        CORRELATED: _by_correlation(magnitudes),
        WEIGHTS: _of_blocks(norms[(is_averaged | (weights["step"] == 0)).to_numpy()]).mean(),
        PLAIN_WEIGHTS: _of_blocks(norms[~is_averaged.to_numpy()]).mean(),
    }
    return {
        name: {str(run): rows.droplevel("run") for run, rows in values.dropna().groupby("run")}
        for name, values in by_run_and_step.items()
    }


def _of_blocks(values: pd.Series) -> Any:
    """The values of each run and step, grouped, in the order of blocks."""
    return values.groupby(["run", "step"])


def _by_correlation(magnitudes: pd.DataFrame) -> pd.Series:
    """The residual stream on the most correlated inputs over that on independent ones, by run and step."""
    rows = magnitudes[
        (magnitudes["kind"] == "correlated") & (magnitudes["site"] == "residual") & (magnitudes["block"] >= 0)
    ]
    means = rows.groupby(["run", "step", "correlation"])["magnitude"].mean()
    ratio: pd.Series = _of_blocks(means).last() / _of_blocks(means).first()
    return ratio


# ---------------------------------------------------------------------------------------------------------------------
# Quantities


def traced(config: str, measure: Measure, against: str = "") -> Quantity:
    """A measure of the traced magnitudes of a configuration with scale + shift, by seed; or its difference from that of
    the configuration `against`."""
    return partial(_traced, config, measure, against)


def _traced(config: str, measure: Measure, against: str, study: Study, model: str, data: str) -> list[Finding]:
    configs = [config, against] if against else [config]
    sides = [runs_of_side(study, model, data, Side(name)) for name in configs]
    if missing := what_is_missing(*sides):
        return [Finding(missing=missing)]
    measured = [_measured(study.curves, side.runs, measure) for side in sides]
    shared = sorted(set.intersection(*map(set, measured)))
    setting = setting_words(*sides)
    if not shared:
        return [Finding(setting=setting, missing=_what_is_untraced(study.curves, measure, sides))]
    values = [measured[0][seed] - (measured[1][seed] if against else 0.0) for seed in shared]
    setting += seeds_words(len(shared), sides[0], sides[-1])
    return [Finding("magnitude", setting, values=tuple(values), withheld=not_tuned(*sides))]


def _measured(curves: Curves, runs: pd.DataFrame, measure: Measure) -> dict[int, float]:
    """The measure by seed, of trained runs that were traced at the start and at the end."""
    values = {}
    for run, seed, steps, status in runs[["run", "seed", "steps", "status"]].itertuples(index=False):
        own = curves[measure.curve].get(run)
        if status == "trained" and own is not None and (own.index[0], own.index[-1]) == (0, steps) and own.min() > 0:
            values[seed] = measure.of(own)
    return values


def _what_is_untraced(curves: Curves, measure: Measure, sides: Sequence[SideRuns]) -> str:
    """What is missing of the curve of a measure."""
    if measure.curve == PLAIN_WEIGHTS and all(_measured(curves, side.runs, growth(WEIGHTS)) for side in sides):
        return (
            "norms of the plain weights, which an earlier version did not trace: delete magnitudes.csv of these runs, "
            "and run the workflow again"
        )
    return f"magnitudes ({measure.curve}) traced to the last step{unfinished_words(*sides)}"
