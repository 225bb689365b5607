"""Changes of scores and held-out losses from a baseline, paired by seed, with intervals and Holm's correction.

A change exists from two seeds on. Where a seed of either side diverged there is none: the seeds that are left would
flatter one side. A change is not tested where a verdict on it would be withheld: where a side was not tuned, or where
all training seeds share one sampling seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..results import rate_sweeps, sampling_seeds, significance, summary
from ..results.estimates import LEVEL
from ..results.heldout_losses import loss_change
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
    p: float = math.nan  # NaN: not tested
    p_holm: float = math.nan
    withheld: str = ""  # why it is not tested, in words; empty where a side was not tuned, which the table says above

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
    return next((score for own in values.kid.values() for score in own.values()), math.nan)


def with_changes(rows: pd.DataFrame, column: str, base: str | float) -> pd.DataFrame:
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
    return [replace(change, p_holm=p) for change, p in zip(changes, corrected, strict=True)]


def _changes(rows: pd.DataFrame, column: str, base: str | float, quantity: Quantity) -> list[Change]:
    of_weights = ("step", "ema_width")  # the columns of the protocol that a loss depends on
    protocol = [key for key in summary.PROTOCOL if quantity == "score" or key in of_weights]
    keys = [key for key in (*summary.SETTING, *protocol) if key not in (column, "lr")]
    if _has_single_widths(rows):
        keys.remove("ema_width")
    measured = [record for record in rows.to_dict("records") if record["n"] or quantity == "loss"]
    bases: dict[tuple[object, ...], dict[float, Mapping[Any, Any]]] = {}
    for record in measured:
        if record[column] == base:
            bases.setdefault(_key(record, keys), {})[record["lr"]] = record  # losses of several protocols are the same
    changes = []
    for record in rows.to_dict("records"):
        own = list(bases.get(_key(record, keys), {}).values())
        if record[column] == base or len(own) != 1:
            changes.append(NO_CHANGE)
        else:
            change = _change(record["seed_values"], own[0]["seed_values"], record["decides"], quantity)
            is_fair = record["tuned"] and own[0]["tuned"]
            changes.append(change if is_fair else replace(change, p=math.nan))
    return changes


def _has_single_widths(rows: pd.DataFrame) -> bool:
    """Whether each setting has been scored in one EMA width only, that of its tuning or of the study."""
    keys = [*summary.SETTING, *(key for key in summary.PROTOCOL if key != "ema_width")]
    return bool((rows[rows["n"] > 0].groupby(keys, dropna=False).size() <= 1).all())


def _key(record: Mapping[Any, Any], keys: list[str]) -> tuple[object, ...]:
    """The values of the keys, with None for missing ones, so that two of them are equal."""
    return tuple(None if record[key] != record[key] else record[key] for key in keys)


def _change(ours: SeedValues, base: SeedValues, metric: str, quantity: Quantity) -> Change:
    if ours.diverged or base.diverged or (quantity == "score" and not metric):
        return NO_CHANGE
    withheld = ""
    if quantity == "loss":
        estimate = loss_change(ours.losses, base.losses)
    else:
        ratios, by_seed = sampling_seeds.log_ratios(getattr(ours, metric), getattr(base, metric))
        is_known = not any(map(math.isnan, ratios.values()))
        estimate = sampling_seeds.estimate(ratios, by_seed) if is_known else None
        withheld = sampling_seeds.one_for_all(by_seed)
    if estimate is None:
        return NO_CHANGE
    percent, low, high = (100 * math.expm1(min(bound, 700.0)) for bound in estimate.interval())
    p = math.nan if withheld else min(estimate.p_inside(low=0.0), estimate.p_inside(high=0.0))
    return Change(percent, low, high, p, withheld=withheld)


def best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `decides` and `best`: whether a learning rate is the best of its setting.

    It is where paired tests in the metric that decides exclude every other rate, one that diverged among them, at 5 %
    after the corrections for the number of rates (Bonferroni) and of settings (Holm). Nothing is best where training
    seeds share sampling seeds, whose error those tests lack.
    """
    rows = rows.assign(decides=deciding_columns(rows))
    keys = ["model", "config", "modulation", "data", *summary.PROTOCOL]
    candidates, p_values = [], []
    for _, group in rows[rows["n"] > 0].groupby(keys, dropna=False):
        records = group.to_dict("records")
        p_best = rate_sweeps.p_best({record["lr"]: _scores(record) for record in records})
        if len(p_best) > 1 and _has_own_sampling_seeds(records):
            (best, _), (_, p) = sorted(p_best.items(), key=lambda item: -item[1])[:2]
            candidates.append(group.index[group["lr"] == best])
            p_values.append(p)
    best_rows = {
        index
        for members, p in zip(candidates, significance.holm(p_values), strict=True)
        for index in members
        if p < LEVEL
    }
    return rows.assign(best=[index in best_rows for index in rows.index])


def _scores(record: Mapping[Any, Any]) -> dict[int, float]:
    """Scores of a row by training seed; infinite where the run diverged."""
    values = record["seed_values"]
    return sampling_seeds.means(getattr(values, record["decides"])) | dict.fromkeys(values.diverged, math.inf)


def _has_own_sampling_seeds(records: Iterable[Mapping[Any, Any]]) -> bool:
    """Whether no two training seeds share a sampling seed, at whatever rate."""
    scores = [getattr(record["seed_values"], record["decides"]) for record in records]
    return not sampling_seeds.any_shared((seed, draw) for own in scores for seed in own for draw in own[seed])
