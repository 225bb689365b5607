"""Figures drawn from given frames, and what their axes hold."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpdit.experiment.columns import MAGNITUDES
from mpdit.rendering import style

from .made_up_runs import magnitudes, run_row


def draw(function: Callable[..., Figure], *arguments: object) -> Figure:
    """The figure that the function draws, laid out, in the style of all figures."""
    with style.style():
        figure = function(*arguments)
        figure.draw_without_rendering()
    return figure


def arrays(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label: (x, y) of the lines of a panel."""
    return {
        line.get_label(): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def lists(axes: Axes) -> dict[str, tuple[list, list]]:
    """Label: (x, y) of the lines of a panel, as lists."""
    return {label: (x.tolist(), y.tolist()) for label, (x, y) in arrays(axes).items()}


def title(axes: Axes) -> str:
    return axes.get_title(loc="left")


def footnote(figure: Figure) -> str:
    """The small print of a figure, in one line."""
    return figure.get_supxlabel().replace("\n", " ")


def runs_frame(*entries: dict) -> pd.DataFrame:
    """runs.csv of trained runs."""
    return pd.DataFrame([run_row(entry) for entry in entries])


def magnitude_rows(run: dict, values: dict, **common: object) -> pd.DataFrame:
    """Rows of magnitudes.csv: `values` gives the magnitude by (step, block), `common` the other columns."""
    empty = dict.fromkeys(MAGNITUDES.names, np.nan) | {"run": run["run"], **common}
    return pd.DataFrame([
        {**empty, "step": s, "block": b, "magnitude": m, "ema_width": 0.05 if s else np.nan}
        for (s, b), m in values.items()
    ])  # fmt: skip


def stream_magnitudes(*levels: tuple[dict, float]) -> pd.DataFrame:
    """Rows of `made_up_runs.magnitudes` of several runs, each at its level."""
    return pd.DataFrame([row for run, level in levels for row in magnitudes(run["run"], level)])
