"""A table of cost.csv: what configurations and modulations cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..experiment.columns import COST
from ..results import summary
from ..results.tables import empty_table
from . import number_format as fmt
from .names import modulation_name
from .table_format import Table

if TYPE_CHECKING:
    import pandas as pd

HEADER = (
    "config", "model", "modulation", "form", "parameters", "GFLOPs", "ms per step", "step time", "interval (95 %)",
)  # fmt: skip
NUMERIC = HEADER[4:]


def cost_table(cost: pd.DataFrame | None) -> Table:
    """The table of cost.csv; without rows where nothing was measured (None)."""
    measured = empty_table(COST) if cost is None else cost
    measured = summary.in_order(measured.assign(lr=0.0)).drop(columns="lr")
    rows = [
        [
            row["config"],
            row["model"],
            modulation_name(row["modulation"]),
            row["form"],
            fmt.parameters(row["parameters"]),
            fmt.significant(row["flops"] / 1e9),
            fmt.significant(1000 * row["step_seconds"]),
            fmt.times(row["relative"]),
            f"{row['relative_low']:.2f} to {row['relative_high']:.2f}",
        ]
        for row in measured.to_dict("records")
    ]
    return Table(measured, HEADER, rows, notes=_notes(measured), numeric=NUMERIC)


def _notes(measured: pd.DataFrame) -> list[str]:
    if measured.empty:
        return ["Not measured yet."]
    setups = measured[["device", "threads", "rounds"]].drop_duplicates().to_dict("records")
    return [
        "FLOPs: matrix products in a forward pass of one image.",
        "Step time: of a training step, relative to that of Config A with scale + shift on the same model; the median "
        "over rounds of the ratio within a round, with the interval of that median (sign test).",
        "Textbook form: weights are normalized under autograd and written back at each step, as in EDM2. Cheap form: "
        "as trained here.",
        *(
            f"Measured on {setup['device']}, {fmt.plural(setup['threads'], 'thread')}, {setup['rounds']:.0f} rounds."
            for setup in setups
        ),
    ]
