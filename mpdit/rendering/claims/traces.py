"""Magnitudes that claims compare: how much they grow over training, and where they peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from .evidence import (
    Finding,
    Side,
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

    RunCurves = Mapping[str, pd.Series]  # name of a curve: values by step, of one run

    Measure = Callable[[RunCurves], float]


def curves(magnitudes: pd.DataFrame) -> Curves:
    """Values by step of each run, by name of the curve.

    `stream` and `weights` are means over blocks and noise levels, `mlp input` is the mean over noise levels in the
    block where that is highest.
    """
    in_blocks = magnitudes[magnitudes["block"] >= 0]
    streams = in_blocks[(in_blocks["kind"] == "activation") & (in_blocks["site"] == "residual")]
    inputs = in_blocks[(in_blocks["kind"] == "activation") & (in_blocks["site"] == "mlp_input")]
    weights = in_blocks[(in_blocks["kind"] == "weight") & (in_blocks["site"] == "all")]
    weights = weights[weights["block"] < weights.groupby("run")["block"].transform("max")]  # without the final layer
    levels = inputs.groupby(["run", "step", "block"])["magnitude"].mean()
    by_run_and_step = {
        "stream": streams.groupby(["run", "step"])["magnitude"].mean(),
        "mlp input": levels.groupby(["run", "step"]).max(),
        "weights": weights.groupby(["run", "step"])["magnitude"].mean(),
    }
    return {
        name: {str(run): rows.droplevel("run") for run, rows in values.groupby("run")}
        for name, values in by_run_and_step.items()
    }


def growth(curve: str) -> Measure:
    """The last value of a curve over the first, at initialization (a logarithm)."""
    return lambda own: math.log(own[curve].iloc[-1] / own[curve].iloc[0])


def peak(curve: str, over: str = "") -> Measure:
    """The highest value of a curve during training over its first, or over the curve `over` at the same step (a
    logarithm)."""
    return lambda own: math.log((own[curve] / (own[over] if over else own[curve].iloc[0])).max())


def highest(curve: str) -> Measure:
    """The highest value of a curve during training (a logarithm)."""
    return lambda own: math.log(own[curve].max())


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
        return [Finding(setting=setting, missing=f"magnitudes traced to the last step{unfinished_words(*sides)}")]
    values = [measured[0][seed] - (measured[1][seed] if against else 0.0) for seed in shared]
    setting += seeds_words(len(shared), sides[0], sides[-1])
    return [Finding("magnitude", setting, values=tuple(values), withheld=not_tuned(*sides))]


def _measured(curves: Curves, runs: pd.DataFrame, measure: Measure) -> dict[int, float]:
    """The measure by seed, of trained runs that were traced at the start and at the end."""
    values = {}
    for run, seed, steps, status in runs[["run", "seed", "steps", "status"]].itertuples(index=False):
        own = {name: by_run[run] for name, by_run in curves.items() if run in by_run}
        complete = [
            curve for curve in own.values() if curve.index[0] == 0 and curve.index[-1] == steps and curve.min() > 0
        ]
        if status == "trained" and len(complete) == len(curves):
            values[seed] = measure(own)
    return values
