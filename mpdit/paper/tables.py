"""The paper's tables, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..experiment.columns import HELDOUT_AGGREGATES
from ..rendering import cost_table
from ..rendering.changes import best_rates, with_changes
from ..rendering.score_table import score_table
from ..rendering.table_format import Table
from ..rendering.tuning_notes import tuning_note
from ..results import summary
from ..results.shown_study import shown_study
from ..study import ArtifactData, table
from .scores import PAPER_NOTE, with_paper_scores

if TYPE_CHECKING:
    import pandas as pd

BOLD = "lower than {}, by a paired test at 5 % after the correction, where both were tuned"


@table(
    "table1",
    title="Table 1",
    experiments=("table1",),
    reads=("runs", "fid", "cost"),
    reads_optional=HELDOUT_AGGREGATES,
    caption="From Config A, the DiT baseline, to Config E, which preserves magnitudes without LayerNorm. Each "
    "configuration makes one change to the one before it.",
)
def table1(data: ArtifactData) -> Table:
    rows = _without_marks(with_changes(_scores(data), "config", "A"), data)
    rows = rows.assign(
        relative_step_time=summary.relative_time(rows, data.get("cost")),
    )
    return score_table(
        rows,
        ("config", "adds", "model", "modulation", "lr", "parameters", "n", "fid", "kid", "vs_a", "heldout_loss",
         "loss_vs_a", "step_time", "status"),
        change_note="Changes are relative to Config A.",
        bold=BOLD.format("Config A"),
        above=_above(data),
        paper_note=PAPER_NOTE,
        cost=data.get("cost"),
    )  # fmt: skip


@table(
    "table2",
    title="Table 2",
    experiments=("table2",),
    reads=("runs", "fid"),
    reads_optional=HELDOUT_AGGREGATES,
    caption="Modulations: their scores and their numbers of parameters, each compared with AdaLN (scale + shift).",
)
def table2(data: ArtifactData) -> Table:
    rows = _without_marks(with_changes(_scores(data), "modulation", "scale_shift"), data)
    rows = rows.assign(parameters_change_percent=summary.parameters_change(rows, "modulation", "scale_shift"))
    return score_table(
        rows,
        ("modulation", "config", "model", "lr", "parameters", "parameters_vs_adaln", "n", "fid", "kid", "vs_adaln",
         "heldout_loss", "loss_vs_adaln", "status"),
        change_note="Changes, also of the parameters, are relative to AdaLN, that is, to scale + shift with the same "
        "configuration.",
        bold=BOLD.format("AdaLN"),
        above=_above(data),
        paper_note=PAPER_NOTE,
    )  # fmt: skip


@table(
    "table3",
    title="Table 3",
    experiments=("learning_rate",),
    reads=("runs", "fid"),
    reads_optional=HELDOUT_AGGREGATES,
    caption="Scores by learning rate, for each configuration and model size.",
)
def table3(data: ArtifactData) -> Table:
    return score_table(
        _without_marks(best_rates(_scores(data)), data),
        ("model", "config", "modulation", "lr", "n", "fid", "kid", "heldout_loss", "status"),
        bold="the best rate of a configuration, where paired tests exclude all its others at 5 % after the correction",
        paper_note=PAPER_NOTE,
    )


@table(
    "table4",
    title="Table 4",
    experiments=(),
    reads=("cost",),
    caption="Cost of configurations and modulations: the time of a training step relative to that of the baseline "
    "(Config A with scale + shift).",
)
def table4(data: ArtifactData) -> Table:
    return cost_table.cost_table(data["cost"])


def _above(data: ArtifactData) -> str:
    return tuning_note(data["runs"].to_dict("records"))


def _without_marks(rows: pd.DataFrame, data: ArtifactData) -> pd.DataFrame:
    """The rows, none of them marked as better in an interim table, which decides nothing."""
    return rows.assign(best=False, best_loss=False) if data.get("interim") else rows


def _scores(data: ArtifactData) -> pd.DataFrame:
    """The rows of `summary.summarize`, with what each configuration adds and the paper's numbers."""
    rows = summary.summarize(data["runs"], data["fid"], data.get("heldout"), data.get("heldout_images"))
    return with_paper_scores(rows.assign(adds=rows["config"].map(shown_study().ladder.adds)))
