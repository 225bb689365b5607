"""Every paired comparison of a study in one table: for each block of `experiments:`, each setting and its baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..experiment.metric_names import metric_name
from ..results import summary
from . import number_format as fmt
from .block_table import AXES, WORDS, comparison_of
from .changes import Change, with_changes
from .comparison_table import scored_rows
from .protocol_words import phrase
from .registry import ArtifactData
from .score_table import status_words
from .table_format import Table
from .tuning_notes import tuning_note

COLUMNS = (
    "experiment", "setting", "baseline", "quantity", "n", "change_percent", "change_low", "change_high",
    "change_p_holm", "status",
)  # fmt: skip
HEADINGS = ("experiment", "setting", "baseline", "quantity", "n", "change (95 % interval)", "p", "status")


def comparisons_table(data: ArtifactData) -> Table:
    """The table of all blocks in `experiments`. An interim one tests nothing."""
    import pandas as pd

    records = [record for block, own in data["experiments"].items() for record in _of_block(block, own)]
    if data.get("interim"):
        records = [
            {**record, "change": replace(record["change"], p=summary.NAN, p_holm=summary.NAN)} for record in records
        ]
    withheld = dict.fromkeys(record["change"].withheld for record in records)
    return Table(
        frame=pd.DataFrame([_csv_row(record) for record in records], columns=list(COLUMNS)),
        header=HEADINGS,
        rows=[_cells(record) for record in records],
        above=[note for block, own in data["experiments"].items() if (note := _above(block, own))],
        notes=[
            "Changes are means of log-ratios paired by seed, with Student's t, against the baseline that is otherwise "
            "equal; p is corrected (Holm) for the number of changes of the same quantity in the experiment. There is "
            "none with fewer than two seeds or where a seed diverged.",
            *(f"Not tested: {why}." for why in withheld if why),
        ],
        numeric=HEADINGS[4:7],
    )


def _above(block: str, data: ArtifactData) -> str:
    note = tuning_note(data["runs"].to_dict("records"))
    return f"{block}: {note}" if note else ""


def _of_block(block: str, data: ArtifactData) -> Iterator[dict[str, Any]]:
    """The comparisons of a block: of the score, and of the held-out loss where there is one."""
    comparison = comparison_of(data["runs"])
    if comparison is None:
        return
    rows = with_changes(scored_rows(data), comparison.column, comparison.base)
    named = [key for key in AXES if rows[key].nunique() > 1 and (key != "lr" or comparison.column == "lr")]
    drawn = [key for key in summary.varying(rows) if key in summary.PROTOCOL]
    for row in rows[rows[comparison.column] != comparison.base].to_dict("records"):
        phrases = [phrase(key, row[key]) for key in drawn if row["n"]]
        common = {
            "experiment": block,
            "setting": ", ".join(filter(None, [*(WORDS[key](row[key]) for key in named), *phrases])),
            "baseline": comparison.words,
            "status": status_words(row["statuses"]),
        }
        score = metric_name(row["features"], row["decides"]) if row["decides"] else "score"
        yield {**common, "quantity": score, "n": row["n"], "change": row["change"]}
        losses = row["seed_values"].losses.by_seed
        if losses:
            yield {**common, "quantity": "held-out loss", "n": len(losses), "change": row["loss_change"]}


def _csv_row(record: dict[str, Any]) -> dict[str, Any]:
    change: Change = record["change"]
    numbers = {f"change_{name}": getattr(change, name) for name in ("percent", "low", "high", "p_holm")}
    return {**record, **numbers}


def _cells(record: dict[str, Any]) -> list[str]:
    change: Change = record["change"]
    words = [str(record[key]) for key in ("experiment", "setting", "baseline", "quantity")]
    numbers = [fmt.value(record["n"]), fmt.percent_range(*change.range), fmt.p_value(change.p_holm)]
    return [*words, *numbers, record["status"]]
