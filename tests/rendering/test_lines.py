"""Means over seeds."""

import pandas as pd

from mpdit.rendering.lines import mean_over_seeds


def test_means_count_each_run_once_and_bands_reach_from_the_lowest_to_the_highest():
    rows = pd.DataFrame({
        "run": list("aaab"), "step": [0, 0, 0, 0], "block": [0, 1, 1, 0], "magnitude": [1.0, 3.0, 5.0, 6.0],
    })  # fmt: skip
    by_run = mean_over_seeds(rows, "step")  # a: 1, 4, 4 by block and within it: 3; b: 6
    assert by_run.loc[0].tolist() == [4.5, 3, 6]
    by_block = mean_over_seeds(rows, "step", spread="block")
    assert by_block.loc[0, ["low", "high"]].tolist() == [3.5, 4]  # of block 0: (1 + 6) / 2; of block 1: 4
    alone = mean_over_seeds(rows[rows["run"] == "b"], "step")
    assert alone["mean"].tolist() == [6]
    assert alone[["low", "high"]].isna().all(axis=None)
