"""Looks of lines, and labels at their ends."""

import numpy as np
import pytest
from helpers.drawing import draw, runs_frame, stream_magnitudes
from helpers.made_up_runs import entry
from matplotlib.text import Text

from mpdit.experiment.ladder import MODULATIONS, RUNGS, SIZES, Ladder, Rung
from mpdit.rendering import style
from mpdit.rendering.figures.magnitudes import residual_stream_by_block
from mpdit.results.shown_study import ShownStudy, showing


def test_labels_at_line_ends_do_not_touch():
    entries = [entry(config) for config in "ABCDE"]
    magnitudes = stream_magnitudes(*((run, 1.0) for run in entries))
    figure = draw(residual_stream_by_block, runs_frame(*entries), magnitudes)
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        assert [text.get_text() for text in axes.texts] == list("ABCDE")
        middles = [(box.y0 + box.y1) / 2 * 72 / figure.dpi for box in boxes]  # points
        assert np.diff(middles) == pytest.approx(-8.5)
        assert all(axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 for box in boxes)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([10, 50], [10, 50]),  # far enough apart
        ([50, 50], [55, 45]),  # the first on top
        ([20, 24, 90], [17, 27, 90]),
        ([0, 0, 0], [20, 10, 0]),  # not below the bottom
        ([100, 100], [100, 90]),  # not above the top
        ([], []),
    ],
)
def test_labels_move_apart_as_little_as_they_must(heights, expected):
    assert style.spread_out(heights, gap=10, low=0, high=100) == expected


@pytest.mark.parametrize("names", [RUNGS, MODULATIONS], ids=["configurations", "modulations"])
def test_each_configuration_and_modulation_has_its_own_marker_and_lightness(names):
    looks = {name: style.look_of(name) for name in names}
    assert len({look["marker"] for look in looks.values()}) == len(looks)
    rgb = [[int(look["color"][i : i + 2], 16) for i in (1, 3, 5)] for look in looks.values()]
    lightness = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in rgb)
    assert min(np.diff(lightness)) > 15  # of 255


def test_configurations_of_a_study_have_looks_of_their_own_after_the_shipped_ones():
    own = {f"F{number}": Rung("E", {"norm": "layer"}, "LayerNorm") for number in range(20)}
    shipped = {name: style.look_of(name) for name in RUNGS}
    with showing(ShownStudy(Ladder(RUNGS | own, SIZES))):
        looks = {name: style.look_of(name) for name in (*RUNGS, *own)}
    assert {name: looks[name] for name in RUNGS} == shipped
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == len(looks)
    assert len({look["color"] for look in list(looks.values())[:10]}) == 10
    with pytest.raises(ValueError, match="'F0' is not in list"):
        style.look_of("F0")
