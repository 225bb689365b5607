"""Tuning learning rates with the same budget for every configuration: which rates to try next, and which one wins.

Rates lie on a grid of half-octaves around a start: rung k is start * 2^(k/2). Five rates at factors of 2 come first. As
long as the best of those tried is the lowest or the highest, the next one beyond it follows; then the half-octaves
around the best. Every setting gets exactly the same number of rates, whatever they show. Pure functions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_RUNGS = (-4, -2, 0, 2, 4)  # five rates at factors of 2
MOST_RATES = 16  # the largest budget


def rate(start: float, rung: int) -> float:
    """The learning rate of a rung: start * 2^(rung / 2), at four significant digits."""
    return float(f"{start * 2 ** (rung / 2):.4g}")


def rungs(budget: int) -> tuple[int, ...]:
    """Every rung that a search of `budget` rates can reach, in order."""
    farthest = FIRST_RUNGS[-1] + 2 * (budget - len(FIRST_RUNGS))
    return tuple(range(-farthest, farthest + 1))


def rounds(budget: int) -> int:
    """The largest number of rounds that a search of `budget` rates takes: each but the first tries one rate or more."""
    return 1 + budget - len(FIRST_RUNGS)


def best_rung(losses: Mapping[int, float]) -> int:
    """The rung of the lowest loss; of equal losses the lower one. A rate that diverged has an infinite loss."""
    return min(losses, key=lambda rung: (losses[rung], rung))


def next_rungs(losses: Mapping[int, float], budget: int) -> tuple[int, ...]:
    """The rungs to try after those of `losses` (rung: held-out loss, infinite where a run diverged); empty at the end.

    At most what is left of the budget. Where every rate has diverged the search goes down.
    """
    untried = tuple(rung for rung in FIRST_RUNGS if rung not in losses)
    left = budget - len(losses)
    if untried or left <= 0:
        return untried[: max(left, 0)]
    best = best_rung(losses)
    if math.isinf(losses[best]) or best == min(losses):
        return (min(losses) - 2,)
    if best == max(losses):
        return (max(losses) + 2,)
    around = tuple(rung for rung in (best - 1, best + 1) if rung not in losses)
    if around:
        return around[:left]
    nearest = sorted(set(rungs(budget)) - set(losses), key=lambda rung: (abs(rung - best), rung))
    return tuple(nearest[:1])


def is_at_an_edge(losses: Mapping[int, float]) -> bool:
    """Whether the best of the tried rates is the lowest or the highest of them, so that a better one may lie beyond."""
    best = best_rung(losses)
    return math.isinf(losses[best]) or best in (min(losses), max(losses))


@dataclass(frozen=True)
class Tuned:
    """What tuning found for one model, configuration and modulation."""

    lr: float
    ema_width: float | None  # chosen together with the rate; None: plain weights
    at_edge: bool  # the best rate is the last one tried on its side: not tuned
    identity: str  # hash of what it was tuned for, `RunSpec.tuning_identity`
    steps: int  # horizon of the tuning
    rates: int  # number of rates tried
