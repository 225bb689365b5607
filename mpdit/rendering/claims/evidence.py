"""What the runs say on a quantity of a claim: one value a seed, or an interval, with the setting in words.

Here what is counted or timed; in `scores` what is scored, in `traces` the magnitudes. A quantity is a function
(study, model, data) -> list of `Finding`, one for each way in which images were drawn: FIDs of other counts, samplers
or features never meet. `study` is what `verdicts` makes of the aggregates. Percentages and factors are logarithms here,
differences are as they are; `verdicts` turns them back.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from .. import score_table as results
from .. import table_format as tables

INF = math.inf


@dataclass(frozen=True)
class Finding:
    """On one quantity, in one setting."""

    setting: str = ""
    values: tuple[float, ...] = ()  # one a seed; infinite where one of the two runs diverged: worse than any number
    interval: tuple[float, float, float] | None = None  # or estimate, low, high; of what is counted all are the same
    seeds: int = 0  # behind an interval; 0: it is not from seeds
    missing: str = ""  # nothing is found: what would have to be run
    lacks: str = ""  # it can't decide: what would
    metric: str = ""
    protocol: str = ""
    ema_width: str = ""  # that `values` are at
    sampling_error: float = math.nan  # half-width of the 95 % interval by sampling seeds alone
    sampling_seeds: int = 0
    fixed_width: str = ""  # shown beside: the same width for all
    fixed: tuple[float, ...] = ()


@dataclass(frozen=True)
class Side:
    """One of the two settings that are compared: a letter and modulation, at its own rate or at another letter's."""

    config: str
    modulation: str = "scale_shift"
    rate_of: str = ""

    @property
    def words(self) -> str:
        at = f" at the rate of {self.rate_of}" if self.rate_of else ""
        return f"{self.config} with {results.modulation_name(self.modulation)}{at}"


def members(study: Mapping, model: str, data: str, side: Side):
    """The runs of a side, all of one rate, and "" or what is missing of them."""
    runs = study["runs"]
    runs = runs[(runs["model"] == model) & (runs["data"] == data) & (runs["modulation"] == side.modulation)]
    letter, own = runs[runs["config"] == side.config], runs[runs["config"] == (side.rate_of or side.config)]
    if own["standard_lr"].any():
        own = own[own["standard_lr"]]
    rates = own["lr"].unique()
    if len(rates) > 1:
        return letter.iloc[:0], f"a rate of {side.rate_of or side.config} under learning_rates: it has several runs"
    found = letter[letter["lr"].isin(rates)]
    return found, "" if len(found) else f"runs of {side.words}"


def told(*sides: tuple[Side, object]) -> str:
    """Sides with their runs in words, each with its rate; what they share stands once."""
    rates = [tables.rate(runs["lr"].iloc[0]) for _, runs in sides]
    kinds = [results.modulation_name(side.modulation) for side, _ in sides]
    letters = [f"{side.config} ({rate})" for (side, _), rate in zip(sides, rates, strict=True)]
    if len(set(kinds)) == 1:
        return f"{' against '.join(letters)}, {kinds[0]}"
    if len(set(letters)) == 1:
        return f"{letters[0]}, {' against '.join(kinds)}"
    return " against ".join(f"{letter[:-1]}, {kind})" for letter, kind in zip(letters, kinds, strict=True))


def standing(*sides) -> str:
    """What stands in the way of pairs: ` (E: 2 running; A: 1 missing)`."""
    told = []
    for side, runs in sides:
        counts = runs.loc[runs["status"] != "trained", "status"].value_counts(sort=False)
        if len(counts):
            told.append(f"{side.config}: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    return f" ({'; '.join(told)})" if told else ""


def of_seeds(found: int, first, second) -> str:
    """`; 3 of 5 seeds`, where some that both sides plan are not there."""
    planned = len(set(first["seed"]) & set(second["seed"]))
    return f"; {found} of {planned} seeds" if found < planned else ""


# ---------------------------------------------------------------------------------------------------------------------
# What is counted or timed, not trained


def parameters(ours: Side, base: Side) -> Callable:
    """Parameters of `ours` against those of `base`: a logarithm, exact."""
    return partial(_parameters, ours, base)


def _parameters(ours: Side, base: Side, study: Mapping, model: str, data: str):
    found = []
    for side in (ours, base):
        counts = []
        for frame in (study["runs"], study["cost"]):
            if frame is not None:
                rows = frame[(frame["model"] == model) & (frame["config"] == side.config)]
                counts += list(rows.loc[rows["modulation"] == side.modulation, "parameters"].dropna())
        if not counts:
            return [Finding(missing=f"a run of {side.words} that has ended, or its cost")]
        found.append(float(counts[0]))
    ratio = math.log(found[0] / found[1])
    setting = f"{ours.words} ({found[0]:,.0f}) against {results.modulation_name(base.modulation)} ({found[1]:,.0f})"
    return [Finding(setting=setting, interval=(ratio,) * 3, metric="parameters")]


def step_time(config: str, form: str) -> Callable:
    """Time of a training step of a letter in a form against A's, with scale + shift: a logarithm, with its interval."""
    return partial(_step_time, config, form)


def _step_time(config: str, form: str, study: Mapping, model: str, data: str):
    cost, wanted = study["cost"], {"model": model, "config": config, "modulation": "scale_shift", "form": form}
    rows = cost
    for key, value in wanted.items() if cost is not None else ():
        rows = rows[rows[key] == value]
    if cost is None or rows.empty:
        return [Finding(missing=f"cost.csv with {config} in the {form} form")]
    row = rows.iloc[0]
    bounds = [row["relative"], row["relative_low"], row["relative_high"]]
    if not all(bound > 0 for bound in bounds):
        return [Finding(missing="cost.csv with an interval (relative_low, relative_high)")]
    return [
        Finding(
            setting=f"{config} against A, scale + shift, {form} form; on {row['device']}, {row['rounds']:.0f} rounds",
            interval=tuple(map(math.log, bounds)),
            lacks="more rounds on a quiet machine",
            metric="step time",
        )
    ]
