"""Magnitudes that claims compare: how they grow over training, and where they stand out."""

import math
from collections.abc import Callable, Mapping
from functools import partial

from .evidence import Finding, Side, members, of_seeds, standing, told


def curves(magnitudes) -> dict:
    """name: run: its values by step. Means over blocks and noise levels; of the MLP's input the highest block."""
    inside = magnitudes[magnitudes["block"] >= 0]
    streams = inside[(inside["kind"] == "activation") & (inside["site"] == "residual")]
    inputs = inside[(inside["kind"] == "activation") & (inside["site"] == "mlp_input")]
    weights = inside[(inside["kind"] == "weight") & (inside["site"] == "all")]
    weights = weights[weights["block"] < weights.groupby("run")["block"].transform("max")]  # all but the final layer
    levels = inputs.groupby(["run", "step", "block"])["magnitude"].mean()
    found = {
        "stream": streams.groupby(["run", "step"])["magnitude"].mean(),
        "mlp input": levels.groupby(["run", "step"]).max(),
        "weights": weights.groupby(["run", "step"])["magnitude"].mean(),
    }
    return {name: {run: rows.droplevel("run") for run, rows in values.groupby("run")} for name, values in found.items()}


def growth(curve: str) -> Callable:
    """Of a run's curves: the last value of `curve` over the first, at initialisation (a logarithm)."""
    return lambda own: math.log(own[curve].iloc[-1] / own[curve].iloc[0])


def peak(curve: str, over: str = "") -> Callable:
    """The highest value of `curve` during training over its first, or over `over` at the same step (a logarithm)."""
    return lambda own: math.log((own[curve] / (own[over] if over else own[curve].iloc[0])).max())


def highest(curve: str) -> Callable:
    """The highest value of `curve` during training (a logarithm)."""
    return lambda own: math.log(own[curve].max())


def traced(config: str, measure: Callable, against: str = "") -> Callable:
    """A measure of a letter's traced magnitudes with scale + shift, by seed; or what it has over another letter's."""
    return partial(_traced, config, measure, against)


def _traced(config: str, measure: Callable, against: str, study: Mapping, model: str, data: str):
    sides = [Side(letter) for letter in (config, *([against] if against else []))]
    found = [members(study, model, data, side) for side in sides]
    if any(lacking for _, lacking in found):
        return [Finding(missing=" and ".join(filter(None, (lacking for _, lacking in found))))]
    measured = [_measured(study["curves"], runs, measure) for runs, _ in found]
    shared = sorted(set.intersection(*map(set, measured)))
    pairs = [(side, runs) for side, (runs, _) in zip(sides, found, strict=True)]
    setting = told(*pairs)
    if not shared:
        return [Finding(setting=setting, missing=f"magnitudes traced to the last step{standing(*pairs)}")]
    values = [measured[0][seed] - (measured[1][seed] if against else 0.0) for seed in shared]
    setting += of_seeds(len(shared), found[0][0], found[-1][0])
    return [Finding(setting=setting, values=tuple(values), metric="magnitude")]


def _measured(curves: Mapping, runs, measure: Callable) -> dict[int, float]:
    """The measure by seed, of trained runs that were traced at the start and in the end."""
    found = {}
    for run, seed, steps, status in runs[["run", "seed", "steps", "status"]].itertuples(index=False):
        own = {name: by_run[run] for name, by_run in curves.items() if run in by_run}
        whole = [
            curve for curve in own.values() if curve.index[0] == 0 and curve.index[-1] == steps and curve.min() > 0
        ]
        if status == "trained" and len(whole) == len(curves):
            found[seed] = measure(own)
    return found
