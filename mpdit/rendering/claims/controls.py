"""Controls: comparisons whose outcome is known, so that a study in which they come out wrong is not to be trusted.

The block `control_same` holds Config A again with other seeds, which must come out level; `control_worse` a known
degradation, such as half the training, which must come out worse. Scores at the last step decide, by `deciding_metric`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...results import summary
from ...results.estimates import LEVEL, Estimate
from ..deciding_metric import deciding_metric
from .scores import by_protocol, final_scores
from .settings import NO_SETTINGS, without_controls

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import ArtifactData


def failed_controls(data: ArtifactData) -> list[str]:
    """A sentence for each control of the study that did not come out as it must, or could not be judged."""
    settings, runs = data.get("settings", NO_SETTINGS), data["runs"]
    study = without_controls(runs, settings)
    sentences = []
    for name, members in settings.controls.items():
        control = runs[runs["run"].isin(members)]
        sentence = _same(control, study, data["fid"]) if name == "control_same" else _worse(control, study, data["fid"])
        sentences += [sentence] if sentence else []
    return sentences


def _same(control: pd.DataFrame, study: pd.DataFrame, fid: pd.DataFrame) -> str:
    """Runs of the same setting with other seeds."""
    differences = _differences(control, study, fid)
    if len(differences) < 2:
        return "Control: too few finished runs with other seeds to tell whether they come out level."
    estimate = Estimate.over_seeds(differences)
    if min(estimate.p_inside(low=0.0), estimate.p_inside(high=0.0)) >= LEVEL:
        return ""
    return (
        f"A control has failed: the same configuration with other seeds differs by {_percent(estimate)}, so verdicts "
        "here find differences where there are none."
    )


def _worse(control: pd.DataFrame, study: pd.DataFrame, fid: pd.DataFrame) -> str:
    differences = _differences(control, study, fid)
    if len(differences) < 2:
        return "Control: too few finished runs to tell whether the known degradation comes out worse."
    estimate = Estimate.over_seeds(differences)
    if estimate.mean > 0 and estimate.p_inside(low=0.0) < LEVEL:
        return ""
    return (
        f"A control has failed: the known degradation does not come out worse ({_percent(estimate)}), so verdicts here "
        "miss differences that are there."
    )


def _percent(estimate: Estimate) -> str:
    value, low, high = (100 * math.expm1(min(bound, 700.0)) for bound in estimate.interval())
    return f"{value:+.1f} %, {low:+.1f} to {high:+.1f}".replace("-", "−")


def _differences(control: pd.DataFrame, study: pd.DataFrame, fid: pd.DataFrame) -> list[float]:
    """Log-ratios of scores, control over study, of the first protocol that both have.

    They are paired by seed, or in the order of seeds where these differ.
    """
    axes = [key for key in summary.SETTING if key != "lr"]
    keys = list(control[[*axes, "lr"]].drop_duplicates().itertuples(index=False, name=None))
    same = [key in keys for key in study[[*axes, "lr"]].itertuples(index=False, name=None)]
    both = [_scored(side, fid) for side in (control, study[same])]
    for rows in by_protocol(both[1]):
        metric = deciding_metric(rows).column
        # The steps of a snapshot are a protocol's, and a degradation may be of fewer of them.
        same_way = [key for key in summary.PROTOCOL if key not in ("ema_width", "step", "reference_count")]
        theirs = both[0][(both[0][same_way] == rows.iloc[0][same_way]).all(axis=1)]
        ours, base = (side.groupby("seed")[metric].mean().sort_index() for side in (theirs, rows))
        shared = ours.index.intersection(base.index)
        pairs = [(ours[seed], base[seed]) for seed in shared] if len(shared) else list(zip(ours, base, strict=False))
        if pairs and all(min(pair) > 0 for pair in pairs):
            return [math.log(first / second) for first, second in pairs]
    return []


def _scored(runs: pd.DataFrame, fid: pd.DataFrame) -> pd.DataFrame:
    scored = final_scores(runs, fid[fid["run"].isin(runs["run"])])
    return scored.drop(columns="seed").merge(runs[["run", "seed"]], on="run")
