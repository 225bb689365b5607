"""Sampling seeds behind a difference of scores: which training seeds share them, and what that does to its error.

The error of a sampling seed is the same for all training seeds that share it, so more of these do not average it out.
All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, stdev

from .estimates import Estimate

BySeed = Mapping[int, Mapping[int, float]]  # training seed: sampling seed: a score, or a difference of two


def means(by_seed: BySeed) -> dict[int, float]:
    """The mean over sampling seeds by training seed."""
    return {seed: fmean(own.values()) for seed, own in by_seed.items()}


def independent_groups(by_seed: BySeed) -> list[list[int]]:
    """The training seeds in groups, as many as possible, no two of which share a sampling seed."""
    groups: list[tuple[list[int], set[int]]] = []
    for seed, own in by_seed.items():
        members, drawn = [seed], set(own)
        for group in [group for group in groups if group[1] & drawn]:
            groups.remove(group)
            members, drawn = [*group[0], *members], group[1] | drawn
        groups.append((members, drawn))
    return [sorted(members) for members, _ in groups]


def shared(by_seed: BySeed) -> list[int]:
    """The sampling seeds that several training seeds share; none where each has seeds of its own."""
    used = [sampling_seed for own in by_seed.values() for sampling_seed in own]
    return sorted({sampling_seed for sampling_seed in used if used.count(sampling_seed) > 1})


def any_shared(runs: Iterable[tuple[int, int]]) -> bool:
    """Whether two training seeds share a sampling seed, given the pairs (training seed, sampling seed) of all runs."""
    pairs = set(runs)
    return len({sampling_seed for _, sampling_seed in pairs}) < len(pairs)


def one_for_all(by_seed: BySeed) -> str:
    """Why nothing can be said where all training seeds share one sampling seed; empty where they do not."""
    if len(independent_groups(by_seed)) != 1 or len(shared(by_seed)) != 1:
        return ""
    return (
        "all training seeds share one sampling seed, whose error no number of them averages out: set sampling.seeds to "
        "paired, or to several"
    )


def estimate(values: Mapping[int, float], by_seed: BySeed) -> Estimate | None:
    """The mean of one difference per training seed; None for fewer than two.

    `by_seed` has the same differences by sampling seed. Paired sampling seeds differ from one training seed to the
    next, so their error is part of the spread over these already. Training seeds that share a sampling seed while
    others do not count once, with their mean. Where all share several, the error of the sampling seeds is added in
    quadrature. Where all share one, the error is too small (`one_for_all`).
    """
    if len(values) < 2:
        return None
    groups = independent_groups(by_seed)
    if len(groups) > 1:
        return Estimate.over_seeds([fmean(values[seed] for seed in members) for members in groups])
    over_seeds, draws = Estimate.over_seeds(list(values.values())), shared(by_seed)
    if len(draws) < 2:
        return over_seeds
    by_draw = [fmean(own[draw] for own in by_seed.values() if draw in own) for draw in draws]
    return over_seeds.with_error(stdev(by_draw) / math.sqrt(len(by_draw)), len(by_draw) - 1)


def log_ratios(ours: BySeed, base: BySeed) -> tuple[dict[int, float], dict[int, dict[int, float]]]:
    """Logarithms of ratios of scores: of the means over sampling seeds by training seed, and by sampling seed.

    Only sampling seeds that both sides of a training seed have count. NaN where a score is not above zero.
    """
    values, by_seed = {}, {}
    for seed in sorted(set(ours) & set(base)):
        draws = sorted(set(ours[seed]) & set(base[seed]))
        if draws:
            values[seed] = _log_ratio(*(fmean(side[seed][draw] for draw in draws) for side in (ours, base)))
            by_seed[seed] = {draw: _log_ratio(ours[seed][draw], base[seed][draw]) for draw in draws}
    return values, by_seed


def _log_ratio(ours: float, base: float) -> float:
    return math.log(ours / base) if min(ours, base) > 0 else math.nan
