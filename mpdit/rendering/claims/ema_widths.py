"""Scores of two sides of a comparison by seed, at one EMA width for both or at the best width of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

USUAL_WIDTH = "0.05"  # the one to compare at where there are several and none is chosen

Column = tuple[str, int]  # EMA width and sampling seed
Pairs = dict[int, dict[int, tuple[float, float]]]  # training seed: sampling seed: scores of both sides


@dataclass(frozen=True)
class PairedScores:
    """Scores of both sides, and the EMA widths they are at, in words."""

    widths: str
    pairs: Pairs


def scores_by_seed(scores: pd.DataFrame, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Scores of the runs: one row per seed, columns (EMA width, sampling seed)."""
    rows = scores[scores["run"].isin(runs["run"])]
    return rows.pivot(index="seed", columns=["ema_width", "sampling_seed"], values=metric)


def at_fixed_width(first: pd.DataFrame, second: pd.DataFrame) -> PairedScores:
    """Pairs at a width that both sides have: the usual one, or the only one. Without either there are no pairs.

    `first` and `second` come from `scores_by_seed`.
    """
    shared = [column for column in _columns(first) if column in second]
    width = usual_or_only_width({width for width, _ in shared})
    columns = [(column, column) for column in shared if column[0] == width]
    pairs = {seed: _pairs(first, second, seed, columns) for seed in first.index.intersection(second.index)}
    return PairedScores(width, {seed: pair for seed, pair in pairs.items() if pair})


def at_own_widths(first: pd.DataFrame, second: pd.DataFrame) -> PairedScores:
    """Pairs with each side at the only width that it has, which tuning has chosen. Without one there are no pairs."""
    widths = [sorted({width for width, _ in _columns(side)}) for side in (first, second)]
    if any(len(own) != 1 for own in widths):
        return PairedScores("", {})
    (ours,), (theirs,) = widths
    seeds = sorted({seed for _, seed in _columns(first)} & {seed for _, seed in _columns(second)})
    columns = [((ours, seed), (theirs, seed)) for seed in seeds]
    pairs = {seed: _pairs(first, second, seed, columns) for seed in first.index.intersection(second.index)}
    words = " and ".join(dict.fromkeys((ours, theirs)))
    return PairedScores(f"{words}, tuned", {seed: pair for seed, pair in pairs.items() if pair})


def usual_or_only_width(widths: set[str]) -> str:
    """The usual width if it is among these, or else the only one; empty if there are several others."""
    if USUAL_WIDTH in widths:
        return USUAL_WIDTH
    return next(iter(widths)) if len(widths) == 1 else ""


def at_best_widths(first: pd.DataFrame, second: pd.DataFrame, seeds: Sequence[int]) -> PairedScores | None:
    """Pairs with each side at the EMA width that is best for it, judged on sampling seeds other than the one reported.

    For each sampling seed the width is the one with the lowest mean score over the training seeds and all other
    sampling seeds. Returns None unless at least 2 widths were sampled with the same 2 or more sampling seeds on every
    one of `seeds`.
    """
    first, second = first.reindex(list(seeds)), second.reindex(list(seeds))
    complete = [
        column
        for column in _columns(first)
        if column in second and first[column].notna().all() and second[column].notna().all()
    ]
    sampling_seeds = {width: {seed for other, seed in complete if other == width} for width, _ in complete}
    sampling_seeds = {width: own for width, own in sampling_seeds.items() if len(own) > 1}
    shared = sorted(set.intersection(*sampling_seeds.values())) if sampling_seeds else []
    if not seeds or len(sampling_seeds) < 2 or len(shared) < 2:
        return None
    widths = sorted(sampling_seeds)
    best = [{seed: _best_width(side, widths, shared, seed) for seed in shared} for side in (first, second)]
    columns = [((best[0][seed], seed), (best[1][seed], seed)) for seed in shared]
    words = " and ".join(dict.fromkeys("/".join(sorted(set(own.values()))) for own in best))
    return PairedScores(f"{words}, chosen", {seed: _pairs(first, second, seed, columns) for seed in seeds})


def _best_width(side: pd.DataFrame, widths: Sequence[str], sampling_seeds: Sequence[int], reported: int) -> str:
    """The width with the lowest mean score over training seeds, on the sampling seeds other than the one reported."""
    others = [seed for seed in sampling_seeds if seed != reported]
    return min(widths, key=lambda width: side[[(width, seed) for seed in others]].to_numpy().mean())


def _columns(scores: pd.DataFrame) -> list[Column]:
    """The columns of a frame of `scores_by_seed`."""
    columns: Any = scores.columns  # a MultiIndex, which the stubs do not know
    return list(columns)


def _pairs(
    first: pd.DataFrame, second: pd.DataFrame, seed: int, columns: Sequence[tuple[Column, Column]]
) -> dict[int, tuple[float, float]]:
    """Scores of both sides of a training seed by sampling seed. Pairs with a missing score are left out."""
    ours, theirs = first.loc[seed].to_dict(), second.loc[seed].to_dict()
    pairs = {own[1]: (float(ours[own]), float(theirs[other])) for own, other in columns}
    return {sampling_seed: pair for sampling_seed, pair in pairs.items() if not any(map(math.isnan, pair))}
