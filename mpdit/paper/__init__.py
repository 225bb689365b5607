"""Every table and figure, in the paper's order: each is one function and one registration.

A function takes `data`, the aggregated tables by name (pandas frames with the columns of `experiment.columns`), and
gives a `tables.Table` or a matplotlib figure; its decorator says what it is, from which experiment and which tables.
The workflow and `mpdit render` find it in `ARTEFACTS`. Snakemake imports this module each time it parses the workflow:
no torch, and pandas and matplotlib only inside functions.
"""

from collections.abc import Mapping
from pathlib import Path

from ..rendering import style as plots
from ..rendering import table_format as layout
from ..rendering.registry import ARTEFACTS, Artefact, figure, goals, table
from ..system.errors import UserError

# Each registers what it makes, in the order of reports.
# isort: off
from . import setting, tables, claims, figures, dynamics, distances, probes  # noqa: F401
from .tables import PAPER_FID
# isort: on

__all__ = ["ARTEFACTS", "PAPER_FID", "Artefact", "figure", "goals", "read", "render", "table"]


def read(
    artefact: Artefact, folder: str | Path, cost: str | Path | None = None, runs: str | Path | None = None
) -> dict:
    """What an artefact reads: the aggregates in `folder`, the cost.csv given or else in `folder`, the folder of runs.

    UserError, one line, for a file that is missing or is not as it should be. Without any cost.csv `cost` is None.
    """
    from ..experiment.columns import SCHEMAS
    from ..results.tables import read_table

    folder, data = Path(folder), {}
    for name in artefact.reads:
        if name == "samples":
            if runs is None:
                raise UserError(f"--runs: missing: must name the folder of runs, whose samples {artefact.name} shows")
            data[name] = Path(runs)
        elif name == "cost" and cost is None and not (folder / "cost.csv").exists():
            data[name] = None
        else:
            data[name] = read_table(cost if name == "cost" and cost else folder / f"{name}.csv", SCHEMAS[name])
    return data


def render(artefact: Artefact, data: Mapping, output: str | Path) -> None:
    """Make the artefact and write every file of it: `output`, and beside it the other suffixes."""
    if artefact.kind == "table":
        layout.save(artefact.make(data), output, artefact.caption)
    else:
        with plots.style():
            plots.save(artefact.make(data), output)
