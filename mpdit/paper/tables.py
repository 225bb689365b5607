"""The tables of the paper, in its order."""

from ..experiment.ladder import ADDS
from ..rendering import score_table as results
from ..rendering.registry import table
from ..results import summary
from ..results.summary import NAN

# (model, letter, modulation): FID-10K of the paper, ImageNet 128x128, 400K steps (Tables 1 and 2). Nothing is derived.
PAPER_FID = {
    ("DiT-XS/2", "C", "scale_shift"): 86.49,
    ("DiT-XS/2", "D", "scale_shift"): 89.38,
    ("DiT-S/2", "E", "scale_shift"): 69.28,
    ("DiT-S/2", "E", "scale_rotate"): 70.86,
    ("DiT-S/2", "E", "scale"): 72.03,
}
# How the paper sampled and scored: columns of summary.PROTOCOL. What it trained is in `setting`.
PAPER_PROTOCOL = {
    "sampler": "ddpm",
    "steps": 250,
    "guidance": 1.0,
    "count": 10_000,
    "ema_width": 0.05,
    "step": 400_000,
    "features": "inception",
}


@table(
    "table1",
    experiments=("table1",),
    reads=("runs", "fid", "cost"),
    caption="The ladder from the DiT baseline (A) to magnitude preservation without LayerNorm (E).",
)
def table1(data):
    rows = _summary(data)
    rows = rows.assign(
        best=summary.best(rows),
        fid_change_percent=summary.change_from(rows, "config", "A"),
        relative_step_time=summary.relative_time(rows, data.get("cost")),
    )
    return results.table(
        rows,
        ("config", "what it adds", "model", "modulation", "learning rate", "parameters", "n", "{fid}", "{kid} ×10³",
         "change vs A", "step time", "status"),
        change="Change: of the mean against A's.",
        cost=data.get("cost"),
    )  # fmt: skip


@table(
    "table2",
    experiments=("table2",),
    reads=("runs", "fid"),
    caption="Modulations, with the parameters they take and the change against AdaLN (scale + shift).",
)
def table2(data):
    rows = _summary(data)
    rows = rows.assign(
        best=summary.best(rows),
        fid_change_percent=summary.change_from(rows, "modulation", "scale_shift"),
        parameters_change_percent=summary.change_from(rows, "modulation", "scale_shift", "parameters"),
    )
    return results.table(
        rows,
        ("modulation", "config", "model", "learning rate", "parameters", "vs AdaLN", "n", "{fid}", "{kid} ×10³",
         "change vs AdaLN", "status"),
        change="Changes, of parameters and of the mean: against AdaLN's, that is scale + shift with the same letter.",
    )  # fmt: skip


@table(
    "table3",
    experiments=("learning_rate",),
    reads=("runs", "fid"),
    caption="Learning rates by letter and model size.",
)
def table3(data):
    rows = _summary(data)
    rows = rows.assign(best=summary.best(rows, within=("config", "modulation")))
    return results.table(
        rows,
        ("model", "config", "modulation", "learning rate", "n", "{fid}", "{kid} ×10³", "status"),
        bold="the lowest of a letter",
    )


@table(
    "table4",
    experiments=(),
    reads=("cost",),
    caption="What letters and modulations cost: a training step against the baseline's (A with scale + shift).",
)
def table4(data):
    return results.cost_table(data["cost"])


def _summary(data):
    """Rows of `summary.summarize`, with what letters add and the paper's numbers."""
    rows = summary.summarize(data["runs"], data["fid"])
    paper = [_paper_fid(row) for row in rows.to_dict("records")]
    return rows.assign(adds=rows["config"].map(ADDS), paper_fid=paper, paper_difference=rows["fid_mean"] - paper)


def _paper_fid(row) -> float:
    """The paper's number of a row, where all of the row's setting is the paper's: data, training and protocol."""
    same = row["paper_setting"] and all(row[key] == value for key, value in PAPER_PROTOCOL.items())
    return PAPER_FID.get((row["model"], row["config"], row["modulation"]), NAN) if same else NAN
