"""Figures against the CSV that they are drawn from."""

import numpy as np
import pandas as pd
import pytest
from helpers.drawing import draw, drawn, some_magnitudes
from helpers.made_up_runs import entry, frames, run_row, write_run
from matplotlib.text import Text

from mpdit import paper
from mpdit.experiment.columns import SCHEMAS
from mpdit.rendering import style as plots
from mpdit.results.tables import empty_table
from mpdit.system.errors import UserError


def test_magnitudes_are_those_of_the_csv():
    """At the start 1 at every block (0.75 and 1.25 by noise level), at the end 2, 3, 4: of A; of E at half of it."""
    a, e = entry("A"), entry("E")
    found = some_magnitudes((a, 1.0), (e, 0.5))
    others = found.assign(kind="weight", magnitude=9.0), found.assign(site="mlp_input", magnitude=9.0)
    runs = pd.DataFrame([run_row(a), run_row(e)])
    figure = draw("magnitudes", runs=runs, magnitudes=pd.concat([found, *others]))
    start, end = figure.axes
    assert (start.get_title(loc="left"), end.get_title(loc="left")) == ("at initialisation", "after 100 steps")
    assert {label: (x.tolist(), y.tolist()) for label, (x, y) in drawn(start).items()} == {
        "A": ([0, 1, 2], [1, 1, 1]), "E": ([0, 1, 2], [0.5, 0.5, 0.5]),
    }  # fmt: skip
    assert {label: y.tolist() for label, (_, y) in drawn(end).items()} == {"A": [2, 3, 4], "E": [1, 1.5, 2]}
    (band,) = end.collections[0].get_paths()  # of A: a quarter below and above
    assert sorted({tuple(point) for point in band.vertices.tolist()}) == [
        (0, 1.5), (0, 2.5), (1, 2.25), (1, 3.75), (2, 3), (2, 5),
    ]  # fmt: skip


def test_magnitudes_are_averaged_over_seeds():
    seeds = [entry("A", 0), entry("A", 1)]
    figure = draw(
        "magnitudes",
        runs=pd.DataFrame([run_row(seed) for seed in seeds]),
        magnitudes=some_magnitudes((seeds[0], 1.0), (seeds[1], 3.0)),
    )
    assert drawn(figure.axes[0])["A"][1].tolist() == [2, 2, 2]


def test_what_is_not_drawn_is_told():
    a = entry("A")
    runs = pd.DataFrame([run_row(a), run_row(entry("B"), "diverged"), run_row(entry("D"), "missing")])
    figure = draw("magnitudes", runs=runs, magnitudes=some_magnitudes((a, 1.0)))
    assert figure.get_supxlabel().replace("\n", " ").endswith("Not drawn: B (1 diverged), D (1 missing).")


def test_models_and_modulations_have_panels_of_their_own_and_rates_lines():
    runs = [entry("A"), entry("A", lr=1e-4), entry("A", modulation="scale_rotate"), entry("A", model="DiT-Nano/4")]
    figure = draw(
        "magnitudes",
        runs=pd.DataFrame([run_row(run) for run in runs]),
        magnitudes=some_magnitudes(*((run, 1.0) for run in runs)),
    )
    panels = {axes.get_title(loc="left"): set(drawn(axes)) for axes in figure.axes[::2]}
    assert panels == {
        "DiT-Nano/2, scale + shift, at initialisation": {"A 1e-3", "A 1e-4"},
        "DiT-Nano/2, scale + rotate, at initialisation": {"A"},
        "DiT-Nano/4, scale + shift, at initialisation": {"A"},
    }


def training(run: dict, losses) -> pd.DataFrame:
    return pd.DataFrame({"run": run["run"], "step": 10 * np.arange(1, len(losses) + 1), "loss": losses})


def test_loss_curves_are_those_of_the_csv():
    a, e = entry("A"), entry("E")
    runs = pd.DataFrame([run_row(a), run_row(e, "diverged")])
    rows = pd.concat([training(a, [1.0, 0.5, 0.25]), training(e, [2.0, 4.0, float("nan")])])
    axes, ratios = draw("loss", runs=runs, training=rows).axes
    assert {label: (x.tolist(), y.tolist()) for label, (x, y) in drawn(axes).items()} == {
        "A": ([10, 20, 30], [1, 0.5, 0.25]), "E": ([10, 20], [2, 4]),
    }  # fmt: skip
    assert {label: (x.tolist(), y.tolist()) for label, (x, y) in drawn(ratios).items()} == {
        "A": ([10, 20, 30], [1, 1, 1]), "E": ([10, 20], [2, 8]),
    }  # fmt: skip
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in crosses] == [([20], [4])]


def test_long_loss_curves_are_thinned_by_averaging():
    a = entry("A")
    rows = training(a, np.arange(1.0, 1001.0))
    axes, _ = draw("loss", runs=pd.DataFrame([run_row(a)]), training=rows).axes
    steps, losses = drawn(axes)["A"]
    assert len(steps) == 100
    assert (steps[0], losses[0]) == (55, 5.5)  # of 10 to 100, and of 1 to 10
    assert (steps[-1], losses[-1]) == (9955, 995.5)
    assert axes.get_xlim()[1] > 10_000


def test_losses_are_compared_by_seed_and_averaged_over_seeds():
    """E has half of A's loss in seed 0 and a fourth of it in seed 1: 0.375 of it, but 0.3 of A's mean."""
    runs = [entry(letter, seed) for letter in "AE" for seed in (0, 1)]
    rows = pd.concat([training(run, [loss] * 20) for run, loss in zip(runs, [1.0, 4.0, 0.5, 1.0], strict=True)])
    left, right = draw("loss", runs=pd.DataFrame([run_row(run) for run in runs]), training=rows).axes
    assert {label: set(y) for label, (_, y) in drawn(left).items()} == {"A": {2.5}, "E": {0.75}}
    assert {label: set(y) for label, (_, y) in drawn(right).items()} == {"A": {1.0}, "E": {0.375}}


def test_losses_without_one_baseline_are_not_compared():
    for runs in ([entry("E")], [entry("A"), entry("A", lr=1e-4), entry("E")]):
        rows = pd.concat([training(run, [1.0, 0.5]) for run in runs])
        left, right = draw("loss", runs=pd.DataFrame([run_row(run) for run in runs]), training=rows).axes
        assert len(drawn(left)) == len(runs)
        assert drawn(right) == {}


def test_ratios_are_shown_at_the_scale_that_they_end_in():
    a, e = entry("A"), entry("E")
    late = [1.0, 1.125, 0.875, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    rows = pd.concat([training(a, [1.0] * 10), training(e, [9.0, *late])]).assign(step=lambda rows: rows["step"] - 5)
    _, right = draw("loss", runs=pd.DataFrame([run_row(run) for run in (a, e)]), training=rows).axes
    assert right.get_ylim() == pytest.approx((0.875 - 0.0125, 1.125 + 0.0125))


def test_labels_at_line_ends_do_not_touch():
    entries = [entry(letter) for letter in "ABCDE"]
    runs = pd.DataFrame([run_row(run) for run in entries])
    figure = draw("magnitudes", runs=runs, magnitudes=some_magnitudes(*((run, 1.0) for run in entries)))
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
    assert plots.apart(heights, gap=10, low=0, high=100) == expected


@pytest.mark.parametrize("kind", ["LETTER_LOOKS", "MODULATION_LOOKS"])
def test_every_letter_and_modulation_has_a_marker_a_line_and_a_lightness_of_its_own(kind):
    looks = list(getattr(plots, kind).values())
    assert len({look["marker"] for look in looks}) == len(looks)
    rgb = [[int(look["color"][i : i + 2], 16) for i in (1, 3, 5)] for look in looks]
    lightness = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in rgb)
    assert min(np.diff(lightness)) > 15  # of 255


def test_samples_show_a_class_a_column(tmp_path):
    a, e = entry("A"), entry("E")
    write_run(tmp_path, a)  # the image i is of grey i, its class i mod 10
    runs = pd.DataFrame([run_row(a), run_row(e, "diverged")])
    fid = frames((a, "trained", [{}]))["fid"]
    figure = draw("samples", runs=runs, fid=fid, samples=tmp_path)
    first, second = figure.axes
    assert first.get_title(loc="left") == "A: baseline DiT"
    (image,) = first.get_images()
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (5 * 68 - 4, 10 * 68 - 4, 3)
    assert pixels[32::68, 32::68, 0].tolist() == [[10 * row + column for column in range(10)] for row in range(5)]
    assert (pixels[64:68] == 255).all()
    assert not second.get_images()
    assert second.texts[0].get_text() == "no samples: diverged"


def test_samples_that_are_too_few_leave_gaps_and_damaged_ones_are_one_line(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, arr_0=np.zeros((3, 64, 64, 3), np.uint8), labels=np.array([7, 2, 7]))
    pixels = plots.mosaic(path, rows=2, classes=10)
    assert pixels.shape == (2 * 68 - 4, 2 * 68 - 4, 3)
    assert pixels[32::68, 32::68, 0].tolist() == [[0, 0], [255, 0]]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"samples.npz: .* must be a samples.npz that `mpdit sample` wrote$"):
        plots.mosaic(path, rows=2, classes=10)
    with pytest.raises(UserError, match="no-such"):
        plots.mosaic(tmp_path / "no-such.npz", rows=2, classes=10)


@pytest.mark.parametrize("name", [name for name, made in paper.ARTEFACTS.items() if made.kind == "figure"])
def test_figures_of_nothing_are_drawn(name, tmp_path):
    data = frames((entry("A"), "missing", []), (entry("E"), "running", []))
    data |= {name: empty_table(SCHEMAS[name]) for name in ("training", "magnitudes", "angles")}
    figure = draw(name, **data, samples=tmp_path)
    assert all(axes.lines or axes.texts for axes in figure.axes)  # no panel is empty
