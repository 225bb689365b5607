"""How figures look: one style, one look per configuration and modulation, labels at the ends of lines.

matplotlib is loaded when a figure is drawn, not when this module is imported.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..experiment.parts import modulations
from ..results.shown_study import shown_study
from ..system.files import replacing
from .axes import points

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.75  # inches: both columns of a conference page
DPI = 200  # of PNGs
GRAY = "0.45"

STYLE: Any = {  # matplotlib's rcParams
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # keeps text as text, which journals ask for
}

# For configurations in the order of the ladder: the colors of Okabe and Ito, which color-blind readers can tell apart,
# and everyone in grayscale together with marker and line style.
_CONFIGS = (
    ("#000000", "o", "-"),  # black
    ("#E69F00", "s", (0, (5, 1.5))),  # orange
    ("#CC79A7", "^", (0, (1, 1))),  # reddish purple
    ("#0072B2", "D", (0, (5, 1, 1, 1))),  # blue
    ("#D55E00", "v", "-"),  # vermilion
    ("#005A46", "P", (0, (3, 1, 1, 1, 1, 1))),  # dark green, instead of one that is as light as another
    # Of those that a study adds:
    ("#56B4E9", "X", (0, (5, 1.5))),  # sky blue
    ("#7A3B9A", "<", (0, (1, 1))),  # purple
    ("#7F6A00", ">", (0, (5, 1, 1, 1))),  # olive
    ("#E7298A", "p", "-"),  # magenta
)
# For modulations in order: Tol's muted colors, three of them darkened so that they differ in grayscale. Their markers
# are hollow, so that no modulation is mistaken for a configuration.
_MODULATIONS = (
    ("#DDCC77", "s", "-"),  # sand
    ("#6FB7DE", "D", (0, (1, 1))),  # cyan
    ("#1F1566", "o", (0, (5, 1.5))),  # indigo
    ("#117733", "^", "-"),  # green
    ("#CC6677", "v", (0, (5, 1, 1, 1))),  # rose
    ("#882255", "P", (0, (3, 1, 1, 1, 1, 1))),  # wine
)

Look = dict[str, Any]  # keyword arguments of Axes.plot


def look_of(name: str) -> Look:
    """The look of a configuration of the study's ladder or of a modulation; each has its own wherever it is drawn."""
    configs, kinds = list(shown_study().ladder.configs), list(modulations())
    if name in configs:
        return _look(_CONFIGS, configs.index(name))
    return _look(_MODULATIONS, kinds.index(name)) | {"markerfacecolor": "white"}


def _look(looks: Sequence[tuple[str, str, Any]], position: int) -> Look:
    """The look at a position; after the last the colors begin again, each with the marker of the next one."""
    turn, index = divmod(position, len(looks))
    color, _, line = looks[index]
    return {"color": color, "marker": looks[(index + turn) % len(looks)][1], "linestyle": line}


def ramp(names: Sequence[Any]) -> dict[Any, Look]:
    """A look for each of `names`, which have an order (blocks, noise levels): from dark to light, in grayscale too."""
    import matplotlib

    colors = matplotlib.colormaps["viridis"]
    last = max(len(names) - 1, 1)
    return {name: {"color": colors(0.85 * position / last)} for position, name in enumerate(names)}


@contextmanager
def style() -> Iterator[None]:
    """Within this context matplotlib has the style of all figures. The user's own settings are set aside."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def panels(rows: int, columns: int, height: float, **share: Any) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of panels, each row `height` inches high, and its axes (rows, columns).

    Nothing is registered with pyplot.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height * max(rows, 1) + 0.2))
    return figure, figure.subplots(max(rows, 1), max(columns, 1), squeeze=False, **share)[:rows, :columns]


def save(figure: Figure, output: str | Path) -> None:
    """Write the figure as .pdf and .png, with the same bytes for the same data."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    output, figure.dpi = Path(output), DPI
    # The canvases' own functions, because Figure.savefig draws everything twice.
    with replacing(output.with_suffix(".png")) as part:
        FigureCanvasAgg(figure).print_png(part, metadata={"Software": None})  # type: ignore[no-untyped-call]
    with replacing(output.with_suffix(".pdf")) as part:
        FigureCanvasPdf(figure).print_pdf(part, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------------------------------------------------
# Lines, and words on a figure


@dataclass(frozen=True)
class LineEnd:
    """The last point of a line, in data coordinates, to put its label beside."""

    label: str
    x: float
    y: float
    color: Any


def line(
    axes: Axes, label: str, look: str | Mapping[str, Any], x: Any, y: Any, low: Any = None, high: Any = None,
    **more: Any,
) -> LineEnd:  # fmt: skip
    """Draw a line, with a band from `low` to `high` where these are given. Returns its end for `label_ends`.

    `look` is a look, or the configuration or modulation that has it.
    """
    look = dict(look_of(look) if isinstance(look, str) else look) | more
    if low is not None:
        axes.fill_between(x, low, high, color=look["color"], alpha=0.07, linewidth=0)
        for edge in (low, high):
            axes.plot(x, edge, color=look["color"], linestyle=look.get("linestyle", "-"), linewidth=0.5, alpha=0.6)
    (curve,) = axes.plot(x, y, label=label, **look)
    xs, ys = points(curve)
    return LineEnd(label, xs[-1], ys[-1], look["color"])


def footnote(figure: Figure, *sentences: str) -> None:
    """Small print below the panels. Empty sentences are left out."""
    lines = textwrap.wrap(" ".join(filter(None, sentences)), 130, break_on_hyphens=False)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6.5, color=GRAY)


def legend(figure: Figure, looks: Mapping[str, Look]) -> None:
    """A legend above the panels, for figures whose panels are too narrow for labels at the ends of lines."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=8, frameon=False, handlelength=3)


def placeholder(axes: Axes, text: str) -> None:
    """Words in place of a picture or a plot that does not exist."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GRAY)


def label_ends(figure: Figure, ends: Mapping[Axes, Sequence[LineEnd]], gap: float = 8.5) -> None:
    """Write labels beside the ends of the lines of each panel, moved apart where they would touch.

    Call it last, when limits are final. A label stays at the height of its line unless another label is within `gap`
    points. A panel without lines says that it has no data.
    """
    for axes, labels in ends.items():
        if not labels and not axes.lines:
            placeholder(axes, "no data yet")
    figure.draw_without_rendering()  # lays out the panels, so that positions on the page are known
    figure.set_layout_engine("none")  # and keeps them: with many panels most of the time goes into the layout
    scale = 72 / figure.dpi  # points per pixel
    for axes, labels in ends.items():
        heights = [axes.transData.transform((end.x, end.y))[1] * scale for end in labels]
        right = max((end.x for end in labels), default=0)
        moved = spread_out(heights, gap, axes.bbox.y0 * scale + gap / 2, axes.bbox.y1 * scale - gap / 2)
        for end, old, new in zip(labels, heights, moved, strict=True):
            # Shorter lines have their labels in the same column as the longest.
            beside = axes.transData.transform((right, end.y))[0] - axes.transData.transform((end.x, end.y))[0]
            axes.annotate(
                end.label, (end.x, end.y), xytext=(beside * scale + 9, new - old), textcoords="offset points",
                va="center", color=end.color, fontweight="bold", annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
            )  # fmt: skip


def spread_out(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights nearest to the given ones (least squares) that are `gap` apart, in order, within low and high.

    Isotonic regression by pooling adjacent violators. If they do not fit between low and high, they start at low.
    """
    order = sorted(range(len(heights)), key=lambda i: (heights[i], -i))  # of equal heights the first ends up on top
    blocks: list[list[float]] = []  # [sum, count] of heights minus the room below them
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, number = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + number]
    bases = [total / number for total, number in blocks for _ in range(int(number))]
    ceiling = high - (len(heights) - 1) * gap
    moved = [0.0] * len(heights)
    for rank, i in enumerate(order):
        moved[i] = max(low, min(bases[rank], ceiling)) + rank * gap
    return moved
