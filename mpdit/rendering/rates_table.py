"""The table of tuned learning rates: one row per model, configuration and modulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .names import modulation_name
from .number_format import NONE, rate, value
from .table_format import Table

if TYPE_CHECKING:
    import pandas as pd

CAPTION = "Learning rates and EMA widths chosen by the loss on held-out images, and what was tried."
HEADINGS = ("model", "config", "modulation", "learning rate", "EMA width", "held-out loss", "rates tried", "outcome")


def rates_table(rates: pd.DataFrame) -> Table:
    """The table of a rates.csv."""
    groups = list(rates.groupby(["model", "config", "modulation"], sort=False))
    budgets = sorted({rows["lr"].nunique() for _, rows in groups})
    return Table(
        frame=rates[rates["chosen"]],
        header=HEADINGS,
        rows=[_row([str(name) for name in setting], rows) for setting, rows in groups],
        notes=_notes(rates, budgets),
        numeric=HEADINGS[3:7],
    )


def _row(setting: list[str], rows: pd.DataFrame) -> list[str]:
    model, config, modulation = setting
    tried, chosen = sorted(rows["lr"].unique()), rows[rows["chosen"]]
    known = chosen.iloc[0] if len(chosen) else None
    cells = [NONE] * 3 if known is None else [rate(known["lr"]), value(known["ema_width"]), f"{known['loss']:.5f}"]
    counts = f"{len(tried)} ({rate(tried[0])} to {rate(tried[-1])})"
    return [model, config, modulation_name(modulation), *cells, counts, _outcome(rows, known)]


def _outcome(rows: pd.DataFrame, chosen: Any) -> str:
    if chosen is None:
        return "every rate diverged"
    if rows["at_edge"].any():
        return "**not tuned**: best at an edge"
    diverged = rows.loc[rows["diverged"] > 0, "lr"].nunique()
    return f"tuned; {diverged} diverged" if diverged else "tuned"


def _notes(rates: pd.DataFrame, budgets: list[int]) -> list[str]:
    seeds, steps = sorted(rates["seeds"].unique()), sorted(rates["steps"].unique())
    each = f"{budgets[0]} rates" if len(budgets) == 1 else f"{budgets[0]} to {budgets[-1]} rates (not the same budget)"
    return [
        f"Held-out loss: mean over tuning seeds ({' or '.join(map(str, seeds))}) at the last of "
        f"{' or '.join(f'{count:,}' for count in steps)} steps, on the half of the held-out images that only tunes.",
        f"Each configuration was tried at {each}; a rate at which a seed diverged counts as infinitely bad.",
    ]
