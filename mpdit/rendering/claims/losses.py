"""Held-out losses that claims compare, paired by seed, each side at the EMA width that it was tuned or sampled with.

Losses of the reporting part decide: the other part of the held-out pictures has chosen learning rates and EMA widths.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from ...results.heldout_losses import Losses, log_ratios, loss_change, losses_of
from ..number_format import rate
from .ema_widths import USUAL_WIDTH
from .evidence import (
    Finding,
    Side,
    SideRuns,
    Study,
    divergences,
    not_tuned,
    runs_of_side,
    seeds_words,
    setting_words,
    unfinished_words,
    what_is_missing,
)
from .scores import is_better

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Quantity


def loss(ours: Side, base: Side) -> Quantity:
    """The held-out loss of `ours` relative to that of `base`, by seed: the logarithm of the ratio."""
    return partial(_loss, ours, base)


def _loss(ours: Side, base: Side, study: Study, model: str, data: str) -> list[Finding]:
    first, second = (runs_of_side(study, model, data, side) for side in (ours, base))
    if missing := what_is_missing(first, second):
        return [Finding(missing=missing)]
    if set(first.runs["run"]) == set(second.runs["run"]):
        return [Finding(missing=f"runs of {ours.words} at a rate of its own")]
    if study.heldout is None:
        return [Finding(missing="a held-out loss: the study holds no pictures out (data.holdout)")]
    widths = [_width(study, side) for side in (first, second)]
    losses = [
        _losses(study, side.runs, width) if width != "" else Losses()
        for side, width in zip((first, second), widths, strict=True)
    ]
    ratios = log_ratios(losses[0].by_seed, losses[1].by_seed)
    diverged = divergences(first, second)
    if not ratios and not diverged:
        missing = f"held-out losses at the last step on the same seeds{unfinished_words(first, second)}"
        return [Finding(setting=setting_words(first, second), missing=missing)]
    beaten = [_beaten(side, study, width) for side, width in zip((first, second), widths, strict=True)]
    return [
        Finding(
            kind="held-out loss",
            setting=setting_words(first, second) + seeds_words(len(ratios), first, second),
            values=tuple(ratios.values()),
            estimate=None if diverged else loss_change(*losses),
            divergences=diverged,
            withheld="; ".join(filter(None, (not_tuned(first, second), *beaten))),
            ema_width=" and ".join(dict.fromkeys("none" if width is None else f"{width}" for width in widths)),
        )
    ]


def _width(study: Study, side: SideRuns) -> str | None:
    """The EMA width of a side: the one that its scores have, or the usual one; empty if neither was measured."""
    scored = set(study.final_scores.loc[study.final_scores["run"].isin(side.runs["run"]), "ema_width"])
    width = next(iter(scored)) if len(scored) == 1 else USUAL_WIDTH
    return None if width == "none" else width


def _losses(study: Study, runs: pd.DataFrame, width: str | None) -> Losses:
    trained = runs[runs["status"] == "trained"]
    if trained.empty:
        return Losses()
    number = math.nan if width is None else float(width)
    return losses_of(trained, float(trained["steps"].iloc[0]), number, study.heldout, study.heldout_images)


def _beaten(side: SideRuns, study: Study, width: str | None) -> str:
    """Another rate of the study at which this side has a lower loss than at the one used; empty if there is none."""
    if side.side.rate_of:
        return ""
    own, (used,) = side.runs.iloc[0], side.runs["lr"].unique()
    axes = ["model", "data", "config", "modulation"]
    runs = study.runs[(study.runs[axes] == own[axes]).all(axis=1)]
    at_used = dict(_losses(study, side.runs, width).by_seed)
    for lr, members in runs.groupby("lr"):
        if lr != used and is_better(_losses(study, members, width).by_seed, at_used):
            return (
                f"{side.side.words} has a lower held-out loss at {rate(float(str(lr)))} than at {rate(used)}, the rate "
                "used, on every seed that both have"
            )
    return ""
