"""Held-out losses of runs by training seed and image, and the change from one side of a comparison to the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from .estimates import Estimate, image_error, log_ratio_terms

if TYPE_CHECKING:
    import pandas as pd

PART = "report"  # of the held-out images: the other part has chosen rates and EMA widths


@dataclass(frozen=True)
class Losses:
    """Held-out losses of the runs of one setting, on the reporting part of the held-out images."""

    by_seed: Mapping[int, float] = field(default_factory=dict)
    by_image: Mapping[int, Mapping[int, float]] = field(default_factory=dict)  # seed: image: loss; may be empty


def losses_of(
    runs: pd.DataFrame,
    step: float,
    ema_width: float,
    heldout: pd.DataFrame | None,
    images: pd.DataFrame | None = None,
) -> Losses:
    """The losses of these runs of one setting in the weights of one step and EMA width (missing: plain weights).

    `heldout` and `images` are heldout.csv and heldout_images.csv, None where the study holds no pictures out. Losses of
    single images exist at the last step only.
    """
    if heldout is None:
        return Losses()
    rows = heldout[(heldout["part"] == PART) & (heldout["step"] == step)]
    seeds = {str(run): int(seed) for run, seed in zip(runs["run"], runs["seed"], strict=True)}
    rows = _of_width(rows[rows["run"].isin(seeds)], ema_width)
    by_seed = {seeds[run]: float(loss) for run, loss in zip(rows["run"], rows["loss"], strict=True)}
    last = set(runs.loc[runs["steps"] == step, "run"])
    by_image: dict[int, dict[int, float]] = {}
    if images is not None:
        own = _of_width(images[images["run"].isin(last)], ema_width)
        for run, members in own.groupby("run"):
            by_image[seeds[str(run)]] = dict(zip(map(int, members["image"]), map(float, members["loss"]), strict=True))
    return Losses(by_seed, by_image)


def _of_width(rows: pd.DataFrame, ema_width: Any) -> pd.DataFrame:
    is_plain = ema_width is None or ema_width != ema_width
    return rows[rows["ema_width"].isna() if is_plain else (rows["ema_width"] - ema_width).abs() < 1e-9]


def log_ratios(ours: Mapping[int, float], base: Mapping[int, float]) -> dict[int, float]:
    """Logarithm of the ratio by seed, for the seeds that both sides have; NaN where a value is not above zero."""
    shared = sorted(set(ours) & set(base))
    return {seed: math.log(ours[seed] / base[seed]) if min(ours[seed], base[seed]) > 0 else math.nan for seed in shared}


def loss_change(ours: Losses, base: Losses) -> Estimate | None:
    """The logarithm of the ratio of two losses, paired by seed; None for fewer than two shared seeds.

    The error of seeds and that of images (each image a cluster of its draws) are added in quadrature, where the losses
    of images are there: all seeds share the images.
    """
    ratios = log_ratios(ours.by_seed, base.by_seed)
    if len(ratios) < 2:
        return None
    estimate = Estimate.over_seeds(list(ratios.values()))
    seeds = list(ratios)
    if all(seed in side.by_image for side in (ours, base) for seed in seeds):
        images = sorted(set.intersection(*(set(side.by_image[seed]) for side in (ours, base) for seed in seeds)))
        if len(images) > 1:
            first, second = (_image_means(side, seeds, images) for side in (ours, base))
            return estimate.with_error(image_error(log_ratio_terms(first, second)), len(images) - 1)
    return estimate


def _image_means(side: Losses, seeds: Sequence[int], images: Sequence[int]) -> list[float]:
    """The loss of each image, averaged over seeds."""
    return [fmean(side.by_image[seed][image] for seed in seeds) for image in images]
