"""Figures drawn from given frames, read back from their axes."""

import numpy as np
import pandas as pd

from mpdit import paper
from mpdit.rendering import style as plots

from .made_up_runs import magnitudes


def drawn(axes) -> dict:
    """Label -> (x, y) of the lines of a panel."""
    return {
        line.get_label(): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def draw(name: str, **data):
    with plots.style():
        figure = paper.ARTEFACTS[name].make(data)
        figure.draw_without_rendering()
    return figure


def some_magnitudes(*levels) -> pd.DataFrame:
    return pd.DataFrame([row for run, level in levels for row in magnitudes(run["run"], level)])
