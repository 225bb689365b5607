"""The figure of what tuning tried, against the rates.csv that it is drawn from."""

import numpy as np
import pandas as pd

from mpdit.experiment.columns import RATES
from mpdit.rendering import style
from mpdit.rendering.figures.tuning import rate_curves
from mpdit.rendering.rates_table import rates_table


def rates(**searches: dict) -> pd.DataFrame:
    """A rates.csv: for each configuration the loss by rate at EMA width 0.1 (None: diverged); at 0.05 it is worse."""
    rows = []
    for config, losses in searches.items():
        known = {lr: loss for lr, loss in losses.items() if loss is not None}
        best = min(known, key=known.get) if known else None
        for lr, loss in losses.items():
            for width, more in ((0.05, 0.01), (0.1, 0.0)):
                rows.append({
                    "model": "DiT-S/2", "config": config, "modulation": "scale_shift", "lr": lr, "data": "x",
                    "identity": "i", "steps": 800, "ema_width": width, "loss": np.nan if loss is None else loss + more,
                    "seeds": 2, "diverged": 2 * (loss is None), "chosen": lr == best and not more,
                    "at_edge": best in (None, min(losses), max(losses)),
                })  # fmt: skip
    return pd.DataFrame(rows, columns=list(RATES.names)).astype({"chosen": "boolean", "at_edge": "boolean"})


SEARCH = {"A": {0.01: 0.30, 0.02: 0.25, 0.04: 0.27, 0.08: None}, "E": {0.02: 0.4, 0.04: 0.3, 0.08: 0.26}}


def test_curves_are_the_losses_at_each_rates_best_width_with_best_edge_and_divergence_marked():
    with style.style():
        (axes,) = rate_curves(rates(**SEARCH)).axes
    lines = [(line.get_marker(), line.get_xydata().tolist()) for line in axes.lines]
    assert [list(point) for point in SEARCH["E"].items()] in [points for _, points in lines]
    assert ("*", [[0.02, 0.25]]) in lines and ("*", [[0.08, 0.26]]) in lines
    assert ("o", [[0.08, 0.26]]) in lines and ("o", [[0.02, 0.25]]) not in lines  # E's best is at an edge
    assert ("x", [[0.08, 0.97]]) in lines


def test_the_table_has_a_row_per_search_with_its_outcome():
    table = rates_table(rates(**SEARCH, C={0.1: None, 0.2: None}))
    assert [row[1] for row in table.rows] == ["A", "E", "C"]
    assert table.rows[0][3:] == ["2e-2", "0.1", "0.25000", "4 (1e-2 to 8e-2)", "tuned; 1 diverged"]
    assert table.rows[1][-1] == "**not tuned**: best at an edge"
    assert table.rows[2][3:] == ["—", "—", "—", "2 (1e-1 to 2e-1)", "every rate diverged"]
    assert "2 to 4 rates (not the same budget)" in table.notes[1]
    assert len(table.frame) == 2


def test_the_same_budget_is_said_as_such():
    table = rates_table(rates(A=SEARCH["E"], E=SEARCH["E"]))
    assert "Each configuration was tried at 3 rates;" in table.notes[1]
