"""Changes of scores and held-out losses from a baseline, paired by seed, with intervals and Holm's correction.

A change exists from two seeds on. Where a seed of either side diverged there is none: the seeds that are left would
flatter one side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..results import rate_sweeps, significance, summary
from ..results.estimates import LEVEL, Estimate
from ..results.heldout_losses import log_ratios, loss_change
from ..results.summary import SeedValues
from .deciding_metric import deciding_metric

if TYPE_CHECKING:
    import pandas as pd

Quantity = Literal["score", "loss"]


@dataclass(frozen=True)
class Change:
    """A change from the baseline in percent, with its 95 % interval, and the test of it."""

    percent: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def range(self) -> tuple[float, float, float]:
        """The change and its interval."""
        return self.percent, self.low, self.high

    @property
    def is_better(self) -> bool:
        """Whether the value is lower than the baseline's, after the correction."""
        return self.percent < 0 and self.p_holm < LEVEL


NO_CHANGE = Change()


def deciding_columns(rows: pd.DataFrame) -> list[str]:
    """For each row of `summary.summarize` the metric that decides, fid or kid; empty where there is no score.

    Rows that are compared, those of one model, data set and protocol up to the EMA width, have the same.
    """
    keys = ["model", "data", *(key for key in summary.PROTOCOL if key != "ema_width")]
    found: dict[Any, str] = {}
    scored = rows[rows["n"] > 0]
    for _, group in scored.groupby(keys, dropna=False):
        metric = deciding_metric(group.assign(kid=group["seed_values"].map(_has_kid))).column
        found |= dict.fromkeys(group.index, metric)
    return [found.get(index, "") for index in rows.index]


def _has_kid(values: SeedValues) -> float:
    return next(iter(values.kid.values()), math.nan)


def with_changes(rows: pd.DataFrame, column: str, base: str) -> pd.DataFrame:
    """The rows of `summary.summarize` with `decides`, `change` and `loss_change` (both `Change`) and what a CSV has of
    them, from the row that has `base` in `column` and is otherwise equal.

    The learning rate may differ, and the EMA width where each setting has a single one. There is no change for the base
    itself, nor where it has several rows: none is picked. Changes of scores are one family of Holm's correction,
    changes of the loss another one.
    """
    rows = rows.assign(decides=deciding_columns(rows))
    scores, losses = (_corrected(_changes(rows, column, base, quantity)) for quantity in ("score", "loss"))
    changes: dict[str, Any] = {"change": scores, "loss_change": losses}
    return rows.assign(
        **changes,
        best=[change.is_better for change in scores],
        best_loss=[change.is_better for change in losses],
        **_csv_columns("change", scores),
        **_csv_columns("heldout_change", losses),
    )


def _csv_columns(prefix: str, changes: list[Change]) -> dict[str, Any]:
    fields = ("percent", "low", "high", "p_holm")
    return {f"{prefix}_{name}": [getattr(change, name) for change in changes] for name in fields}


def _corrected(changes: list[Change]) -> list[Change]:
    corrected = significance.holm_by_family([change.p for change in changes], [""] * len(changes))
    return [
        Change(change.percent, change.low, change.high, change.p, p)
        for change, p in zip(changes, corrected, strict=True)
    ]


def _changes(rows: pd.DataFrame, column: str, base: str, quantity: Quantity) -> list[Change]:
    keys = [key for key in (*summary.SETTING, *summary.PROTOCOL) if key not in (column, "lr")]
    if _has_single_widths(rows):
        keys.remove("ema_width")
    scored = rows[rows["n"] > 0]
    bases: dict[tuple[object, ...], list[SeedValues]] = {}
    for record in scored[scored[column] == base].to_dict("records"):
        bases.setdefault(_key(record, keys), []).append(record["seed_values"])
    changes = []
    for record in rows.to_dict("records"):
        own = bases.get(_key(record, keys), [])
        if record[column] == base or len(own) != 1 or not record["n"]:
            changes.append(Change())
        else:
            changes.append(_change(record["seed_values"], own[0], record["decides"], quantity))
    return changes


def _has_single_widths(rows: pd.DataFrame) -> bool:
    """Whether each setting has been scored in one EMA width only, that of its tuning or of the study."""
    keys = [*summary.SETTING, *(key for key in summary.PROTOCOL if key != "ema_width")]
    return bool((rows[rows["n"] > 0].groupby(keys, dropna=False).size() <= 1).all())


def _key(record: Mapping[Any, Any], keys: list[str]) -> tuple[object, ...]:
    """The values of the keys, with None for missing ones, so that two of them are equal."""
    return tuple(None if record[key] != record[key] else record[key] for key in keys)


def _change(ours: SeedValues, base: SeedValues, metric: str, quantity: Quantity) -> Change:
    if ours.diverged or base.diverged:
        return Change()
    if quantity == "loss":
        estimate = loss_change(ours.losses, base.losses)
    else:
        ratios = list(log_ratios(getattr(ours, metric), getattr(base, metric)).values())
        is_known = len(ratios) > 1 and not any(map(math.isnan, ratios))
        estimate = Estimate.over_seeds(ratios) if is_known else None
    if estimate is None:
        return Change()
    percent, low, high = (100 * math.expm1(min(bound, 700.0)) for bound in estimate.interval())
    return Change(percent, low, high, min(estimate.p_inside(low=0.0), estimate.p_inside(high=0.0)))


def best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `decides` and `best`: whether a learning rate is the best of its setting.

    It is where paired tests in the metric that decides exclude every other rate (5 %, Bonferroni); one that diverged
    is excluded.
    """
    rows = rows.assign(decides=deciding_columns(rows))
    keys = ["model", "config", "modulation", "data", *summary.PROTOCOL]
    best: set[Any] = set()
    scored = rows[rows["n"] > 0]
    for _, group in scored.groupby(keys, dropna=False):
        scores = {
            record["lr"]: {
                **getattr(record["seed_values"], record["decides"]),
                **dict.fromkeys(record["seed_values"].diverged, math.inf),
            }
            for record in group.to_dict("records")
        }
        left = rate_sweeps.maybe_best(scores, LEVEL)
        if len(scores) > 1 and len(left) == 1:
            best |= set(group.index[group["lr"] == left[0]])
    return rows.assign(best=[index in best for index in rows.index])
