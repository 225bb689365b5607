"""Limits, scales and ticks of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def points(curve: Line2D) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a line, in data coordinates, without its gaps."""
    import numpy as np

    x, y = (np.asarray(values, dtype=float) for values in curve.get_data())
    is_drawn = ~np.isnan(y)
    return x[is_drawn], y[is_drawn]


def positive_axis(axes: Axes) -> None:
    """A y axis for positive values: from zero, or logarithmic where the largest is over five times the smallest."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    values = [
        y for shared in axes.get_shared_y_axes().get_siblings(axes) for curve in shared.lines for y in points(curve)[1]
    ]
    if not values or min(values) <= 0:
        return
    if max(values) <= 5 * min(values):
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def add_headroom(axes: Axes, share: float) -> None:
    """Raise the upper limit of the y axis by a share of its length, to make room for words above the lines."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** share if axes.get_yscale() == "log" else high + share * (high - low))


def step_axis(axes: Axes, last: int) -> None:
    """An x axis of training steps up to `last`, with room for labels. Ticks read 500, 1,500 or 50K, 400K."""
    axes.set_xlabel("step")
    axes.set_xlim(0, 1.1 * last)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step / 1000:g}K" if step and last >= 10_000 else f"{step:,.0f}")


def limit_to_late_values(axes: Axes, start: float) -> None:
    """Set the limits of the y axis to what the lines do from x = `start` on, whatever they do before."""
    values = [y for curve in axes.lines for x, y in zip(*points(curve), strict=True) if x >= start]
    if values:
        low, high = min(values), max(values)
        room = 0.05 * (high - low) or 0.05 * high
        axes.set_ylim(low - room, high + room)


def block_ticks(last: int, most: int = 7) -> list[int]:
    """Ticks from 0 to `last`: every block, or every few where there are many; `last` is always among them."""
    every = max(1, -(-last // most))
    return [tick for tick in range(0, last, every) if last - tick >= every] + [last]
