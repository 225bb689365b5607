"""The table of any block of `experiments:`: a row per setting, a column for whatever tells the settings apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..results import summary
from .changes import deciding_columns
from .comparison_table import Comparison, comparison_table, scored_rows
from .names import modulation_name
from .number_format import rate
from .registry import ArtifactData
from .score_table import score_table
from .table_format import Table

if TYPE_CHECKING:
    import pandas as pd

AXES = ("config", "model", "modulation", "lr")  # columns of these are shown where they vary
WORDS: dict[str, Callable[[Any], str]] = {
    "config": "Config {}".format,
    "model": str,
    "modulation": modulation_name,
    "lr": lambda lr: f"learning rate {rate(lr)}",
}


def block_table(data: ArtifactData) -> Table:
    """The table of the block whose aggregates these are."""
    rows, comparison = scored_rows(data), comparison_of(data["runs"])
    named = [key for key in AXES if rows[key].nunique() > 1] or ["config"]
    shared = [WORDS[key](rows[key].iloc[0]) for key in AXES if key not in named]
    first = [key for name in named for key in (("config", "adds") if name == "config" else (name,))]
    first += ["parameters", "n", "fid", "kid"]
    if comparison is None:
        table = score_table(
            rows.assign(
                decides=deciding_columns(rows),
                best=False,
                relative_step_time=summary.relative_time(rows, data["cost"]),
            ),
            (*first, "heldout_loss", "step_time", "status"),
            bold="",
            cost=data["cost"],
        )
    else:
        p, loss_p = ([], []) if data.get("interim") else (["p"], ["loss_p"])  # an interim table decides nothing
        changes = ["vs_base", *p, "heldout_loss", "loss_vs_base", *loss_p]
        table = comparison_table(data, rows, comparison, [*first, *changes, "step_time", "status"])
    notes = [f"All rows: {', '.join(shared)}."] if shared else []
    return replace(table, notes=[*notes, *table.notes])


def comparison_of(runs: pd.DataFrame) -> Comparison | None:
    """What the rows of a block are compared by, and with: the first value, in the order of the block.

    They are compared by configuration, or where that does not vary by modulation; and by learning rate where a setting
    has several, of which none is picked for another comparison. None where none of these varies.
    """
    has_rates = (runs.groupby(["model", "config", "modulation"])["lr"].nunique() > 1).any()
    column = "lr" if has_rates else next((key for key in ("config", "modulation") if runs[key].nunique() > 1), None)
    if column is None:
        return None
    base: Any = runs[column].iloc[0]
    words = WORDS[column](base)
    return Comparison(column, base, base if column == "config" else rate(base) if column == "lr" else words, words)
