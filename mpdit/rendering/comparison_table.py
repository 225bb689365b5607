"""A table of scores with the change of each row against a baseline, whatever distinguishes the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results import summary
from ..results.shown_study import shown_study
from .changes import with_changes
from .registry import ArtifactData
from .score_table import score_table
from .table_format import Table
from .tuning_notes import tuning_note

if TYPE_CHECKING:
    import pandas as pd

BOLD = "lower than {}, by a paired test at 5 % after the correction, where both were tuned"


@dataclass(frozen=True)
class Comparison:
    """What rows are compared with: the row that has `base` in `column`, and is otherwise equal."""

    column: str  # of summary.SETTING
    base: str | float
    heading: str  # the baseline in the heading of a column, such as `A`
    words: str  # in a sentence, such as `Config A`


def scored_rows(data: ArtifactData) -> pd.DataFrame:
    """The rows of `summary.summarize`, with what each configuration adds."""
    rows = summary.summarize(data["runs"], data["fid"], data.get("heldout"), data.get("heldout_images"))
    return rows.assign(adds=rows["config"].map(shown_study().ladder.adds))


def comparison_table(
    data: ArtifactData,
    rows: pd.DataFrame,
    comparison: Comparison,
    columns: Sequence[str],
    *,
    change_note: str = "",
    paper_note: str = "",
) -> Table:
    """The table of `scored_rows`, to which more fields of `ScoreRow` may have been assigned.

    `change_note` says what changes are relative to, where that is more than the baseline.
    """
    rows = without_marks(with_changes(rows, comparison.column, comparison.base), data)
    return score_table(
        rows.assign(relative_step_time=summary.relative_time(rows, data.get("cost"))),
        columns,
        base=comparison.heading,
        change_note=change_note or f"Changes are relative to {comparison.words}.",
        bold=BOLD.format(comparison.words),
        above=tuning_note(data["runs"].to_dict("records")),
        paper_note=paper_note,
        cost=data.get("cost"),
    )


def without_marks(rows: pd.DataFrame, data: ArtifactData) -> pd.DataFrame:
    """The rows, none of them marked as better in an interim table, which decides nothing."""
    return rows.assign(best=False, best_loss=False) if data.get("interim") else rows
