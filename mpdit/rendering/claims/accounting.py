"""Quantities that are counted or timed, without training."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from ...results.estimates import Estimate
from ..names import modulation_name
from .evidence import Finding, Side, Study

if TYPE_CHECKING:
    from ..registry import Quantity


def parameters(ours: Side, base: Side) -> Quantity:
    """The number of parameters of `ours` relative to `base`: the logarithm of the ratio, which is exact."""
    return partial(_parameters, ours, base)


def _parameters(ours: Side, base: Side, study: Study, model: str, data: str) -> list[Finding]:
    numbers = []
    for side in (ours, base):
        counts: list[float] = []
        for frame in (study.runs, study.cost):
            if frame is not None:
                rows = frame[(frame["model"] == model) & (frame["config"] == side.config)]
                counts += list(rows.loc[rows["modulation"] == side.modulation, "parameters"].dropna())
        if not counts:
            return [Finding(missing=f"a finished run of {side.words}, or its row in cost.csv")]
        numbers.append(float(counts[0]))
    ratio = math.log(numbers[0] / numbers[1])
    setting = f"{ours.words} ({numbers[0]:,.0f}) vs. {modulation_name(base.modulation)} ({numbers[1]:,.0f})"
    return [Finding("parameters", setting, interval=(ratio, ratio, ratio), estimate=Estimate.exact(ratio))]


def step_time(config: str, form: str) -> Quantity:
    """The time of a training step of a configuration in a form (cheap or textbook), relative to that of Config A, with
    scale + shift: the logarithm of the ratio, with its interval."""
    return partial(_step_time, config, form)


def _step_time(config: str, form: str, study: Study, model: str, data: str) -> list[Finding]:
    rows = study.cost
    if rows is not None:
        wanted = {"model": model, "config": config, "modulation": "scale_shift", "form": form}
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
    if rows is None or rows.empty:
        return [Finding(missing=f"a row of cost.csv for Config {config} in the {form} form")]
    row = rows.iloc[0]
    bounds = (row["relative"], row["relative_low"], row["relative_high"])
    if not all(bound > 0 for bound in bounds):
        return [Finding(missing="an interval in cost.csv (relative_low, relative_high)")]
    estimate, low, high = map(math.log, bounds)
    return [
        Finding(
            "step time",
            f"{config} vs. A, scale + shift, {form} form; on {row['device']}, {row['rounds']:.0f} rounds",
            interval=(estimate, low, high),
            estimate=Estimate.from_interval(estimate, low, high, int(row["rounds"])),
            needs="more rounds on a quiet machine",
        )
    ]
