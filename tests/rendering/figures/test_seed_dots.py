"""Every seed of a block as a dot."""

import numpy as np
import pytest
from helpers.drawing import draw, footnote
from helpers.made_up_runs import entry, frames

from mpdit.rendering.figures.seed_dots import seed_dots


def dots(axes, row: int) -> list[float]:
    return sorted(x for line in axes.lines if line.get_linestyle() == "None"
                  for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True) if y == row)  # fmt: skip


def means(axes) -> dict[float, float]:
    """x of the bar of each row."""
    bars = [line for line in axes.lines if line.get_linestyle() == "-"]
    return {float(np.mean(bar.get_ydata())): float(bar.get_xdata()[0]) for bar in bars}


def test_seeds_are_dots_and_a_setting_with_a_diverged_seed_has_no_mean():
    runs = [(entry("A", seed), "trained", [{"fid": 40.0 + seed, "kid": 0.1}]) for seed in range(3)]
    runs += [(entry("E", 0), "trained", [{"fid": 30.0, "kid": 0.2}]), (entry("E", 1), "diverged", [])]
    data = frames(*runs)
    figure = draw(seed_dots, data["runs"], data["fid"])
    fid, kid = figure.axes
    assert [label.get_text() for label in fid.get_yticklabels()] == ["A", "E"]
    assert (dots(fid, 0), dots(fid, 1)) == ([40.0, 41.0, 42.0], [30.0])
    assert means(fid) == {0.0: 41.0}
    assert means(kid) == {0.0: pytest.approx(100.0)}
    assert [text.get_text() for text in fid.texts] == ["1 diverged"]
    assert "Dots: seeds" in footnote(figure)


def test_rows_are_named_by_what_varies():
    runs = [(entry("E", modulation=name), "trained", [{"ema_width": width} for width in (0.05, 0.1)])
            for name in ("scale", "scale_shift")]  # fmt: skip
    data = frames(*runs)
    data["fid"]["protocol"] = data["fid"]["ema_width"].map("ema{:g}".format)
    figure = draw(seed_dots, data["runs"], data["fid"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "scale, EMA width 0.05", "scale, EMA width 0.1",
        "scale + shift, EMA width 0.05", "scale + shift, EMA width 0.1",
    ]  # fmt: skip
