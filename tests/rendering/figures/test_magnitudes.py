"""Magnitudes along the depth against the CSV that they are drawn from."""

import pandas as pd
from helpers.drawing import arrays, draw, footnote, lists, magnitude_rows, runs_frame, stream_magnitudes, title
from helpers.made_up_runs import entry, run_row

from mpdit.rendering.figures.magnitudes import residual_stream_by_block, sites_within_a_block


def test_magnitudes_are_those_of_the_csv():
    """A: at the start 1 at every block (0.75 and 1.25 by noise level), at the end 2, 3, 4. E: half of that."""
    a, e = entry("A"), entry("E")
    stream = stream_magnitudes((a, 1.0), (e, 0.5))
    others = stream.assign(kind="weight", magnitude=9.0), stream.assign(site="mlp_input", magnitude=9.0)
    figure = draw(residual_stream_by_block, runs_frame(a, e), pd.concat([stream, *others]))
    start, end = figure.axes
    assert (title(start), title(end)) == ("at initialization", "after 100 steps")
    assert lists(start) == {"A": ([0, 1, 2], [1, 1, 1]), "E": ([0, 1, 2], [0.5, 0.5, 0.5])}
    assert {label: y for label, (_, y) in lists(end).items()} == {"A": [2, 3, 4], "E": [1, 1.5, 2]}
    (band,) = end.collections[0].get_paths()  # of A: a quarter below and above
    assert sorted({tuple(point) for point in band.vertices.tolist()}) == [
        (0, 1.5), (0, 2.5), (1, 2.25), (1, 3.75), (2, 3), (2, 5),
    ]  # fmt: skip


def test_magnitudes_are_averaged_over_seeds():
    seeds = [entry("A", 0), entry("A", 1)]
    figure = draw(residual_stream_by_block, runs_frame(*seeds), stream_magnitudes((seeds[0], 1.0), (seeds[1], 3.0)))
    assert arrays(figure.axes[0])["A"][1].tolist() == [2, 2, 2]


def test_runs_that_are_not_shown_are_named():
    a = entry("A")
    runs = pd.DataFrame([run_row(a), run_row(entry("B"), "diverged"), run_row(entry("D"), "missing")])
    figure = draw(residual_stream_by_block, runs, stream_magnitudes((a, 1.0)))
    assert footnote(figure).endswith("Not shown: B (1 diverged), D (1 missing).")


def test_each_model_and_modulation_has_a_panel_and_each_learning_rate_a_line():
    runs = [entry("A"), entry("A", lr=1e-4), entry("A", modulation="scale_rotate"), entry("A", model="DiT-Nano/4")]
    figure = draw(residual_stream_by_block, runs_frame(*runs), stream_magnitudes(*((run, 1.0) for run in runs)))
    assert {title(axes): set(arrays(axes)) for axes in figure.axes[::2]} == {
        "DiT-Nano/2, scale + shift, at initialization": {"A 1e-3", "A 1e-4"},
        "DiT-Nano/2, scale + rotate, at initialization": {"A"},
        "DiT-Nano/4, scale + shift, at initialization": {"A"},
    }


def test_each_site_has_a_panel():
    d = entry("D")
    magnitudes = pd.concat([
        magnitude_rows(
            d, {(0, 0): 1.0, (0, 1): 1.0, (100, 0): level, (100, 1): 2 * level}, kind="activation", site=site,
            timestep=50,
        )
        for site, level in (("mlp_input", 5.0), ("residual", 1.0))
    ])  # fmt: skip
    figure = draw(sites_within_a_block, runs_frame(d), magnitudes)
    panels = {title(axes): axes for axes in figure.axes[:5]}
    assert lists(panels["MLP, input"]) == {"D": ([1, 2], [5, 10])}
    assert lists(panels["residual stream"]) == {"D": ([1, 2], [1, 2])}
    assert lists(panels["MLP, output"]) == {}
    assert lists(figure.axes[5 + 2]) == {"D": ([0, 100], [1, 7.5])}
