"""Aggregates of made-up studies for claims: scores by setting, seed, EMA width and sampling seed, and magnitudes."""

import pandas as pd

from helpers.made_up_runs import entry, frames
from mpdit.experiment.columns import COST, MAGNITUDES

INCEPTION = {
    "features": "inception",
    "features_hash": "1c",
    "fid_rank_deficient": False,
    "count": 10_000,
    "reference_count": 50_000,
}
STREAM, MLP_INPUT = {0: 0.5, 1: 1.5}, {0: 0.25, 1: 1.5}  # by block, in units of the curve
# Curve: kind and site of its rows, and the magnitudes of blocks in units of the curve. Block 2 is the final layer.
SITES = {
    "stream": ("activation", "residual", STREAM),
    "entering": ("activation", "residual", {-1: 1.0}),
    "mlp input": ("activation", "mlp_input", MLP_INPUT),
    "correlated": ("correlated", "residual", STREAM),
    "weights": ("weight", "all", STREAM | {2: 100.0}),
    "plain weights": ("weight", "all", STREAM | {2: 100.0}),
}
MEASURED = {"model": "DiT-Nano/2", "config": "E", "modulation": "scale_shift"}


def run(config, seed, *scores, status="trained", **axes) -> tuple:
    """A run for `made_up_runs.frames`. A score is a FID at width 0.05, or a mapping of columns. Sampling seeds are
    paired."""
    rows = []
    for score in scores:
        row = INCEPTION | (score if isinstance(score, dict) else {"fid": score})
        width, sampling_seed = row.setdefault("ema_width", 0.05), row.setdefault("sampling_seed", seed)
        rows.append({"protocol": f"{row['count']}-{width}-{row.get('step', 100)}-{sampling_seed}", **row})
    return entry(config, seed, **axes), status, rows


def seeds(config, *scores, **axes) -> list[tuple]:
    """One run per score, with seeds 0, 1, ...; None leaves a seed out."""
    return [run(config, seed, score, **axes) for seed, score in enumerate(scores) if score is not None]


def study(*runs: tuple, curves=(), cost=None) -> dict:
    """The aggregates of these runs.

    `curves` are tuples (config, seed, curve of SITES, its values at initialization, half-way and at the end).
    """
    data = frames(*runs, cost=cost)
    rows = []
    for config, seed, curve, values in curves:
        kind, site, levels = SITES[curve]
        for step, value in zip((0, 50, 100), values, strict=True):
            width = 0.05 if step and curve != "plain weights" else None
            about = {"run": entry(config, seed)["run"], "step": step, "ema_width": width, "kind": kind, "site": site}
            if (curve == "plain weights" and step != 100) or (curve == "correlated" and step == 50):
                continue  # not traced: the initialization is among `weights`
            for block, level in levels.items():
                if kind == "correlated":
                    rows.append({**about, "block": block, "magnitude": level, "correlation": 0.0})
                    about["correlation"] = 0.99
                rows.append({**about, "block": block, "magnitude": value * level})
    return data | {"magnitudes": pd.DataFrame(rows, columns=MAGNITUDES.names)}


A80 = seeds("A", 80.0, 81.0, 79.0, 80.5)


def sweep(config, scores: dict, own: float, **more) -> list[tuple]:
    """Runs of a configuration at several learning rates: rate -> scores by seed; `own` is its rate in the study."""
    return [r for lr, fids in scores.items() for r in seeds(config, *fids, lr=lr, standard_lr=lr == own, **more)]


A_RATES = {1e-5: (90.0, 91.0, 90.2), 1e-4: (60.0, 60.5, 59.9), 1e-3: (95.0, 96.0, 94.6)}
E_RATES = {1e-4: (99.0, 99.5, 98.0), 1e-3: (80.0, 80.1, 79.0), 1e-2: (50.0, 50.5, 49.9), 1e-1: (88.0, 87.0, 88.5)}


def cost_row(relative, low, high, form="textbook", **changes) -> dict:
    row = dict.fromkeys(COST.names, 1.0) | MEASURED
    measured = {"relative": relative, "relative_low": low, "relative_high": high, "rounds": 40, "device": "a processor"}
    return row | measured | {"form": form} | changes
