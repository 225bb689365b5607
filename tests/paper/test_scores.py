"""The paper's numbers next to ours, in exactly its setting."""

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_runs import entry, frames

from mpdit.paper.tables import table1
from mpdit.rendering import table_format


def cells(table: table_format.Table, config: str) -> dict:
    (row,) = [row for row in table.rows if row[0] == config]
    return dict(zip(table.header, row, strict=True))


PAPERS_OWN = {
    "steps": 250, "count": 10_000, "step": 400_000, "features": "inception", "fid": 88.0,
    "reference": "imagenet128", "reference_count": 1_281_167,
}  # fmt: skip


def of_the_paper(config: str, same=True, **score) -> dict:
    """Aggregates of a config and of E on XS/2, sampled as the paper did but for `score`."""
    row = PAPERS_OWN | score
    return frames(*((entry(c, model="DiT-XS/2", paper_setting=same), "trained", [row]) for c in (config, "E")))


def test_the_papers_number_and_the_difference_are_next_to_ours():
    table = table1(of_the_paper("C"))
    assert cells(table, "C")["paper"] == "86.49"
    assert cells(table, "C")["difference"] == "+1.51"
    assert (cells(table, "E")["paper"], cells(table, "E")["difference"]) == ("—", "—")  # the paper gives none
    assert table.frame["paper_difference"].tolist()[0] == pytest.approx(1.51)
    assert "difference: ours minus the paper's" in " ".join(table.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"same": False}, {"sampler": "ddim"}, {"steps": 50}, {"guidance": 1.5}, {"count": 5_000}, {"ema_width": 0.1},
        {"step": 200_000}, {"features": "efficientnet-lite0"}, {"reference": "val.npz"}, {"reference_count": 50_000},
    ],
    ids=str,
)  # fmt: skip
def test_the_papers_number_appears_nowhere_else(change):
    table = table1(of_the_paper("C", **change))
    assert "paper" not in table.header
    assert table.frame["paper_fid"].isna().all()


def test_among_several_widths_only_the_papers_own_has_its_number():
    data = of_the_paper("C")
    wider = data["fid"].assign(ema_width=0.1, protocol="wider")
    table = table1(data | {"fid": pd.concat([data["fid"], wider])})
    found = table.frame[table.frame["config"] == "C"].set_index("ema_width")["paper_fid"]
    assert found[0.05] == 86.49
    assert np.isnan(found[0.1])
