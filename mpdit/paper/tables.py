"""The paper's tables, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..experiment.ladder import ADDS
from ..rendering import cost_table
from ..rendering.registry import ArtifactData, table
from ..rendering.score_table import score_table
from ..rendering.table_format import Table
from ..results import summary
from .scores import PAPER_NOTE, with_paper_scores

if TYPE_CHECKING:
    import pandas as pd


@table(
    "table1",
    title="Table 1",
    experiments=("table1",),
    reads=("runs", "fid", "cost"),
    caption="From Config A, the DiT baseline, to Config E, which preserves magnitudes without LayerNorm. Each "
    "configuration makes one change to the one before it.",
)
def table1(data: ArtifactData) -> Table:
    rows = _scores(data)
    rows = rows.assign(
        best=summary.best(rows),
        fid_change_percent=summary.change_from(rows, "config", "A"),
        relative_step_time=summary.relative_time(rows, data.get("cost")),
    )
    return score_table(
        rows,
        ("config", "adds", "model", "modulation", "lr", "parameters", "n", "fid", "kid", "fid_vs_a", "step_time",
         "status"),
        change_note="Change: of the mean, relative to Config A's.",
        paper_note=PAPER_NOTE,
        cost=data.get("cost"),
    )  # fmt: skip


@table(
    "table2",
    title="Table 2",
    experiments=("table2",),
    reads=("runs", "fid"),
    caption="Modulations: their scores and their numbers of parameters, each compared with AdaLN (scale + shift).",
)
def table2(data: ArtifactData) -> Table:
    rows = _scores(data)
    rows = rows.assign(
        best=summary.best(rows),
        fid_change_percent=summary.change_from(rows, "modulation", "scale_shift"),
        parameters_change_percent=summary.change_from(rows, "modulation", "scale_shift", "parameters"),
    )
    return score_table(
        rows,
        ("modulation", "config", "model", "lr", "parameters", "parameters_vs_adaln", "n", "fid", "kid", "fid_vs_adaln",
         "status"),
        change_note="Changes, of the parameters and of the mean, are relative to AdaLN, that is, to scale + shift with "
        "the same configuration.",
        paper_note=PAPER_NOTE,
    )  # fmt: skip


@table(
    "table3",
    title="Table 3",
    experiments=("learning_rate",),
    reads=("runs", "fid"),
    caption="Scores by learning rate, for each configuration and model size.",
)
def table3(data: ArtifactData) -> Table:
    rows = _scores(data)
    rows = rows.assign(best=summary.best(rows, within=("config", "modulation")))
    return score_table(
        rows,
        ("model", "config", "modulation", "lr", "n", "fid", "kid", "status"),
        bold="the lowest of a configuration",
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


def _scores(data: ArtifactData) -> pd.DataFrame:
    """The rows of `summary.summarize`, with what each configuration adds and the paper's numbers."""
    rows = summary.summarize(data["runs"], data["fid"])
    return with_paper_scores(rows.assign(adds=rows["config"].map(ADDS)))
