"""The paper's tables, in its order."""

from __future__ import annotations

from ..experiment.columns import HELDOUT_AGGREGATES
from ..rendering import cost_table
from ..rendering.changes import best_rates
from ..rendering.comparison_table import Comparison, comparison_table, scored_rows, without_marks
from ..rendering.score_table import score_table
from ..rendering.table_format import Table
from ..results import summary
from ..study import ArtifactData, table
from .scores import PAPER_NOTE, with_paper_scores

TABLE_1 = Comparison("config", "A", "A", "Config A")
TABLE_2 = Comparison("modulation", "scale_shift", "AdaLN", "AdaLN")


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
    return comparison_table(
        data,
        with_paper_scores(scored_rows(data)),
        TABLE_1,
        ("config", "adds", "model", "modulation", "lr", "parameters", "n", "fid", "kid", "vs_base", "heldout_loss",
         "loss_vs_base", "step_time", "status"),
        paper_note=PAPER_NOTE,
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
    rows = with_paper_scores(scored_rows(data))
    return comparison_table(
        data,
        rows.assign(parameters_change_percent=summary.parameters_change(rows, TABLE_2.column, TABLE_2.base)),
        TABLE_2,
        ("modulation", "config", "model", "lr", "parameters", "parameters_vs_adaln", "n", "fid", "kid", "vs_base",
         "heldout_loss", "loss_vs_base", "status"),
        change_note="Changes, also of the parameters, are relative to AdaLN, that is, to scale + shift with the same "
        "configuration.",
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
        without_marks(best_rates(with_paper_scores(scored_rows(data))), data),
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
