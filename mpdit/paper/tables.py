"""The tables of the paper, in its order."""

from .. import results, summary
from ..configs import ADDS
from ..summary import NAN
from .registry import table

# (model, letter, modulation): FID-10K of the paper, ImageNet 128x128, 400K steps (Tables 1 and 2). Nothing is derived.
PAPER_FID = {
    ("DiT-XS/2", "C", "scale_shift"): 86.49,
    ("DiT-XS/2", "D", "scale_shift"): 89.38,
    ("DiT-S/2", "E", "scale_shift"): 69.28,
    ("DiT-S/2", "E", "scale_rotate"): 70.86,
    ("DiT-S/2", "E", "scale"): 72.03,
}


@table(
    "table1",
    experiments=("table1",),
    reads=("runs", "fid", "cost"),
    caption="The ladder from the DiT baseline (A) to magnitude preservation without LayerNorm (E).",
)
def table1(data):
    rows = summary.summarize(data["runs"], data["fid"])
    rows = rows.assign(
        adds=rows["config"].map(ADDS),
        best=summary.best(rows),
        fid_change_percent=summary.change_from(rows, "A"),
        relative_step_time=summary.relative_time(rows, data.get("cost")),
        paper_fid=_paper_fid(rows),
    )
    return results.table(rows, results.COLUMNS, data.get("cost"))


def _paper_fid(rows) -> list[float]:
    """The paper's number of each row, where all of the row's setting is the paper's."""
    keys = rows[["model", "config", "modulation"]].itertuples(index=False, name=None)
    return [PAPER_FID.get(key, NAN) if same else NAN for key, same in zip(keys, rows["paper_setting"], strict=True)]
