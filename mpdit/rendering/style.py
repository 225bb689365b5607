"""How figures look: one style, a look a letter, labels at the ends of lines. matplotlib is loaded when one is drawn."""

import math
import os
import textwrap
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..experiment.ladder import LADDER, MODULATIONS
from ..system.errors import UserError
from ..system.files import replacing

WIDTH = 6.75  # inches: both columns of a conference page
DPI = 200  # of PNGs
GREY = "0.45"

STYLE = {
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
    "pdf.fonttype": 42,  # text stays text, which journals ask for
}

# Okabe and Ito's colours, told apart by the colour-blind and, with marker and line, in greyscale; for letters in turn.
_LETTERS = (
    ("#000000", "o", "-"),  # black
    ("#E69F00", "s", (0, (5, 1.5))),  # orange
    ("#CC79A7", "^", (0, (1, 1))),  # reddish purple
    ("#0072B2", "D", (0, (5, 1, 1, 1))),  # blue
    ("#D55E00", "v", "-"),  # vermilion
    ("#005A46", "P", (0, (3, 1, 1, 1, 1, 1))),  # dark green, in the place of one that is as light as another
    ("#56B4E9", "X", (0, (5, 1.5))),  # sky blue
)
# Tol's muted colours, three of them darker so that greys differ, for modulations in turn; their markers are hollow, so
# that no modulation is taken for a letter.
_MODULATIONS = (
    ("#DDCC77", "s", "-"),  # sand
    ("#6FB7DE", "D", (0, (1, 1))),  # cyan
    ("#1F1566", "o", (0, (5, 1.5))),  # indigo
    ("#117733", "^", "-"),  # green
    ("#CC6677", "v", (0, (5, 1, 1, 1))),  # rose
    ("#882255", "P", (0, (3, 1, 1, 1, 1, 1))),  # wine
)


def _looks(names, looks, **more) -> dict[str, dict]:
    look = [dict(zip(("color", "marker", "linestyle"), values, strict=True)) | more for values in looks]
    return {name: look[index % len(look)] for index, name in enumerate(names)}


LETTER_LOOKS = _looks(LADDER, _LETTERS)
MODULATION_LOOKS = _looks(MODULATIONS, _MODULATIONS, markerfacecolor="white")
LOOKS = LETTER_LOOKS | MODULATION_LOOKS  # of a line, by what it stands for


def ramp(names: Sequence) -> dict:
    """A look for each of `names`, which have an order (blocks, noise levels): from dark to light, in greyscale too."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"]
    last = max(len(names) - 1, 1)
    return {name: {"color": colours(0.85 * place / last)} for place, name in enumerate(names)}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib in the style of every figure, the user's own settings set aside."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def panels(rows: int, columns: int, height: float, **share):
    """A figure with a grid of panels, each row `height` inches: (figure, axes (rows, columns)). Nothing global."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height * max(rows, 1) + 0.2))
    return figure, figure.subplots(max(rows, 1), max(columns, 1), squeeze=False, **share)[:rows, :columns]


def positive_axis(axes) -> None:
    """The y axis of positive values: from zero, or logarithmic where the largest is over five times the smallest."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    values = [
        y for line in axes.get_shared_y_axes().get_siblings(axes) for curve in line.lines for y in curve.get_ydata()
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


def headroom(axes, share: float) -> None:
    """Raise the upper limit of the y axis by a share of the axis, for words above the lines."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** share if axes.get_yscale() == "log" else high + share * (high - low))


def step_axis(axes, last: int) -> None:
    """The x axis of training steps up to `last`, with room for labels: 500, 1,500, or 50K, 400K."""
    axes.set_xlabel("step")
    axes.set_xlim(0, 1.1 * last)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step / 1000:g}K" if step and last >= 10_000 else f"{step:,.0f}")


def late_limits(axes, start: float) -> None:
    """Limits of the y axis that show the lines from `start` on, whatever they do before."""
    values = [y for curve in axes.lines for x, y in zip(*curve.get_data(), strict=True) if x >= start]
    if values:
        low, high = min(values), max(values)
        room = 0.05 * (high - low) or 0.05 * high
        axes.set_ylim(low - room, high + room)


def whole_ticks(last: int, most: int = 7) -> list[int]:
    """Ticks from 0 to `last` at every block, or every few where there are many; `last` always among them."""
    every = max(1, -(-last // most))
    return [tick for tick in range(0, last, every) if last - tick >= every] + [last]


def save(figure, output: str | Path) -> None:
    """Write the figure as .pdf and .png, the same bytes for the same data."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    output, figure.dpi = Path(output), DPI
    # The canvases' own functions: Figure.savefig draws everything twice.
    with replacing(output.with_suffix(".png")) as part:
        FigureCanvasAgg(figure).print_png(part, metadata={"Software": None})
    with replacing(output.with_suffix(".pdf")) as part:
        FigureCanvasPdf(figure).print_pdf(part, metadata={"CreationDate": None})


def footnote(figure, text: str) -> None:
    """Small print beneath the panels."""
    figure.supxlabel("\n".join(textwrap.wrap(text, 130)), x=0.01, ha="left", fontsize=6.5, color=GREY)


def key(figure, looks: Mapping[str, Mapping]) -> None:
    """A legend above the panels, for figures whose panels are too narrow for labels at the ends of lines."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=8, frameon=False, handlelength=3)


def line(axes, label: str, look: str | Mapping, x, y, low=None, high=None, **more) -> tuple[str, float, float, str]:
    """Draw a line in the look of a letter or a modulation, or in one given, with a band from low to high where given.

    Gives its end for `label_ends`.
    """
    look = dict(LOOKS[look] if isinstance(look, str) else look) | more
    if low is not None:
        axes.fill_between(x, low, high, color=look["color"], alpha=0.07, linewidth=0)
        for edge in (low, high):
            axes.plot(x, edge, color=look["color"], linestyle=look.get("linestyle", "-"), linewidth=0.5, alpha=0.6)
    (curve,) = axes.plot(x, y, label=label, **look)
    return label, curve.get_xdata()[-1], curve.get_ydata()[-1], look["color"]


def say(axes, text: str) -> None:
    """Words in the place of a picture or a plot that is not there."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def label_ends(figure, ends: Mapping, gap: float = 8.5) -> None:
    """Write labels beside the ends of lines, by axes: (text, x, y, colour) each, moved apart where they would touch.

    Call it last, when limits are final: a label keeps its line's height unless another is within `gap` points. A panel
    without lines says so.
    """
    for axes, labels in ends.items():
        if not labels and not axes.lines:
            say(axes, "nothing to draw yet")
    figure.draw_without_rendering()  # lays the panels out, so that heights on the page are known
    figure.set_layout_engine("none")  # and keeps them: layout is what takes the time where panels are many
    points = 72 / figure.dpi
    for axes, labels in ends.items():
        heights = [axes.transData.transform((x, y))[1] * points for _, x, y, _ in labels]
        right = max((x for _, x, _, _ in labels), default=0)
        moved = apart(heights, gap, axes.bbox.y0 * points + gap / 2, axes.bbox.y1 * points - gap / 2)
        for (text, x, y, colour), old, new in zip(labels, heights, moved, strict=True):
            beside = (
                axes.transData.transform((right, y))[0] - axes.transData.transform((x, y))[0]
            )  # labels in one column
            axes.annotate(
                text, (x, y), xytext=(beside * points + 9, new - old), textcoords="offset points", va="center",
                color=colour, fontweight="bold", annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
            )  # fmt: skip


def apart(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights nearest to the given ones (least squares) that are `gap` apart, in their order, within low and high.

    Isotonic regression by pooling adjacent violators. What does not fit between low and high starts at low.
    """
    order = sorted(range(len(heights)), key=lambda i: (heights[i], -i))  # of equals the first stands on top
    blocks = []  # [sum, count] of heights minus the room below them
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, number = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + number]
    bases = [total / number for total, number in blocks for _ in range(number)]
    ceiling = high - (len(heights) - 1) * gap
    moved = [0.0] * len(heights)
    for rank, i in enumerate(order):
        moved[i] = max(low, min(bases[rank], ceiling)) + rank * gap
    return moved


def mosaic(path: str | Path, rows: int, classes: int):
    """Image of a samples.npz: the first `rows` samples of each of the first `classes` classes, one class a column.

    Gives uint8 (H, W, 3), small images enlarged. Reads no further than it must, so that 10,000 samples need no memory.
    UserError when the file is missing or is no samples.npz.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("labels.npy") as file:
                labels = np.lib.format.read_array(file)
            places = {}  # position among the samples: (row, column)
            for column, label in enumerate(np.unique(labels)[:classes]):
                places |= {int(i): (row, column) for row, i in enumerate(np.flatnonzero(labels == label)[:rows])}
            with archive.open("arr_0.npy") as file:
                images = dict(zip(sorted(places), _read_images(file, sorted(places)), strict=True))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: {error}: must be a samples.npz that `mpdit sample` wrote") from None
    side = len(next(iter(images.values())))
    scale = -(-64 // side)
    cell = side * scale + 4
    canvas = np.full((rows * cell - 4, len({column for _, column in places.values()}) * cell - 4, 3), 255, np.uint8)
    for i, (row, column) in places.items():
        enlarged = images[i].repeat(scale, axis=0).repeat(scale, axis=1)
        canvas[row * cell :, column * cell :][: side * scale, : side * scale] = enlarged
    return canvas


def _read_images(file, positions: Sequence[int]) -> Iterator:
    """Images (H, W, 3) at ascending positions of a .npy stream (N, H, W, 3) uint8."""
    import numpy as np

    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    size, at = math.prod(shape[1:]), 0
    for position in positions:
        file.seek((position - at) * size, os.SEEK_CUR)
        yield np.frombuffer(file.read(size), np.uint8).reshape(shape[1:])
        at = position + 1
