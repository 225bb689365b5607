"""Controls: comparisons whose outcome is known, so that a study in which they come out wrong is not to be trusted.

The block `control_same` holds Config A again with other seeds, which must come out level; `control_worse` a known
degradation, such as half the training, which must come out worse. Scores at the last step decide, by `deciding_metric`;
where runs diverged, only how often they did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...results import significance, summary
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
    outcome = _compared(control, study, fid)
    if outcome is None:
        return "Control: too few finished runs with other seeds to tell whether they come out level."
    if outcome.p >= LEVEL:
        return ""
    return (
        f"A control has failed: the same configuration with other seeds differs ({outcome.words}), so verdicts here "
        "find differences where there are none."
    )


def _worse(control: pd.DataFrame, study: pd.DataFrame, fid: pd.DataFrame) -> str:
    outcome = _compared(control, study, fid)
    if outcome is None:
        return "Control: too few finished runs to tell whether the known degradation comes out worse."
    if outcome.is_worse and outcome.p < LEVEL:
        return ""
    return (
        f"A control has failed: the known degradation does not come out worse ({outcome.words}), so verdicts here miss "
        "differences that are there."
    )


@dataclass(frozen=True)
class Outcome:
    """How a control compares with the runs of the study."""

    p: float  # against "no difference"
    is_worse: bool
    words: str


def _compared(control: pd.DataFrame, study: pd.DataFrame, fid: pd.DataFrame) -> Outcome | None:
    """The control against the runs of the study with the same settings; None where there are too few of them."""
    keys = list(summary.SETTING)
    settings = set(control[keys].itertuples(index=False, name=None))
    base = study[[key in settings for key in study[keys].itertuples(index=False, name=None)]]
    statuses = [list(side["status"]) for side in (control, base)]
    diverged = [own.count("diverged") for own in statuses]
    if any(diverged):
        ended = [count + own.count("trained") for count, own in zip(diverged, statuses, strict=True)]
        p = significance.divergence_test(diverged[0], ended[0], diverged[1], ended[1])
        words = f"{diverged[0]} of {ended[0]} runs diverged, against {diverged[1]} of {ended[1]}"
        return None if p is None else Outcome(p, diverged[0] * ended[1] > diverged[1] * ended[0], words)
    differences = _differences(control, base, fid)
    if len(differences) < 2:
        return None
    estimate = Estimate.over_seeds(differences)
    return Outcome(min(estimate.p_inside(low=0.0), estimate.p_inside(high=0.0)), estimate.mean > 0, _percent(estimate))


def _percent(estimate: Estimate) -> str:
    value, low, high = (100 * math.expm1(min(bound, 700.0)) for bound in estimate.interval())
    return f"{value:+.1f} %, {low:+.1f} to {high:+.1f}".replace("-", "−")


def _differences(control: pd.DataFrame, base: pd.DataFrame, fid: pd.DataFrame) -> list[float]:
    """Log-ratios of scores, control over `base`, of the first protocol that both have.

    They are paired by seed, or in the order of seeds where these differ.
    """
    both = [_scored(side, fid) for side in (control, base)]
    for rows in by_protocol(both[1]):
        metric = deciding_metric(rows).column
        # The steps of a snapshot are a protocol's, and a degradation may be of fewer of them.
        same_way = [key for key in summary.PROTOCOL if key not in ("ema_width", "step", "reference_count")]
        of_control = both[0][(both[0][same_way] == rows.iloc[0][same_way]).all(axis=1)]
        first, second = (side.groupby("seed")[metric].mean().sort_index() for side in (of_control, rows))
        shared = first.index.intersection(second.index)
        pairs = [(first[seed], second[seed]) for seed in shared] or list(zip(first, second, strict=False))
        if pairs and all(min(pair) > 0 for pair in pairs):
            return [math.log(ours / theirs) for ours, theirs in pairs]
    return []


def _scored(runs: pd.DataFrame, fid: pd.DataFrame) -> pd.DataFrame:
    scored = final_scores(runs, fid[fid["run"].isin(runs["run"])])
    return scored.drop(columns="seed").merge(runs[["run", "seed"]], on="run")
