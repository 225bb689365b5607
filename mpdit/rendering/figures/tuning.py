"""What tuning tried: the held-out loss over the learning rate, with the best rate of each configuration marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import style
from ..names import modulation_name
from ..number_format import rate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGHEST = 1.5  # losses above this times the lowest of a panel are cut off


def rate_curves(rates: pd.DataFrame) -> Figure:
    """One panel per model and modulation, one line per configuration: the loss at the best EMA width of each rate."""
    panels = list(rates.groupby(["model", "modulation"], sort=False))
    figure, grid = style.panels(len(panels), 1, height=2.6)
    for (axes,), ((model, modulation), rows) in zip(grid, panels, strict=True):
        axes.set_title(f"{model}, {modulation_name(str(modulation))}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="held-out loss")
        lowest = rows["loss"].min()
        if lowest == lowest:
            axes.set_ylim(lowest - 0.04 * lowest, HIGHEST * lowest)
        for config, tried in rows.groupby("config", sort=False):
            _draw_curve(axes, str(config), tried)
        axes.xaxis.set_major_formatter(lambda lr, _: rate(lr))
    style.legend(figure, {config: style.look_of(config) for config in rates["config"].unique()})
    style.footnote(
        figure,
        "Star: the rate and EMA width chosen. Every configuration was tried at the same number of rates.",
        "Ring: the best rate is the lowest or the highest that was tried, so the configuration is not tuned.",
        "Cross at the top: a tuning run diverged there.",
    )
    return figure


def _draw_curve(axes: Axes, config: str, rows: pd.DataFrame) -> None:
    """The curve of a configuration, at the best EMA width of each rate, with its marks."""
    look = style.look_of(config)
    best = rows.groupby("lr")["loss"].min()
    diverged = [float(lr) for lr in best.index[best.isna()]]
    top = axes.get_xaxis_transform()  # x in data, y as a share of the panel
    axes.plot(diverged, [0.97] * len(diverged), "x", color=look["color"], transform=top, markersize=5)
    best = best.dropna()
    axes.plot(best.index, best, **look)
    chosen = rows[rows["chosen"]]
    axes.plot(chosen["lr"], chosen["loss"], "*", color=look["color"], markersize=10, zorder=4)
    untuned = chosen[chosen["at_edge"]]
    axes.plot(untuned["lr"], untuned["loss"], "o", color=look["color"], markersize=14, fillstyle="none", zorder=4)
