"""Losses, magnitudes, weights and gains over training against the CSVs that they are drawn from."""

import numpy as np
import pandas as pd
import pytest
from helpers.drawing import arrays, draw, footnote, lists, magnitude_rows, runs_frame, stream_magnitudes
from helpers.made_up_runs import entry, run_row

from mpdit.rendering.figures.over_training import (
    heldout_loss_curves,
    learned_gains,
    loss_curves,
    residual_stream_over_training,
    weight_norms,
)
from mpdit.rendering.lines import rows_of_complete_runs


def losses(run: dict, values) -> pd.DataFrame:
    """Rows of training.csv, one every 10 steps."""
    return pd.DataFrame({"run": run["run"], "step": 10 * np.arange(1, len(values) + 1), "loss": values})


def test_loss_curves_are_those_of_the_csv():
    a, e = entry("A"), entry("E")
    runs = pd.DataFrame([run_row(a), run_row(e, "diverged")])
    rows = pd.concat([losses(a, [1.0, 0.5, 0.25]), losses(e, [2.0, 4.0, float("nan")])])
    loss, ratio = draw(loss_curves, runs, rows, "A").axes
    assert lists(loss) == {"A": ([10, 20, 30], [1, 0.5, 0.25]), "E": ([10, 20], [2, 4])}
    assert lists(ratio) == {"A": ([10, 20, 30], [1, 1, 1]), "E": ([10, 20], [2, 8])}
    assert (loss.get_ylabel(), ratio.get_ylabel()) == ("loss", "loss / loss of A")
    crosses = [line for line in loss.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in crosses] == [([20], [4])]


def test_long_loss_curves_are_thinned_by_averaging():
    a = entry("A")
    loss, _ = draw(loss_curves, runs_frame(a), losses(a, np.arange(1.0, 1001.0)), "A").axes
    steps, values = arrays(loss)["A"]
    assert len(steps) == 100
    assert (steps[0], values[0]) == (55, 5.5)  # of 10 to 100, and of 1 to 10
    assert (steps[-1], values[-1]) == (9955, 995.5)
    assert loss.get_xlim()[1] > 10_000


def test_loss_ratios_are_taken_by_seed_and_averaged_over_seeds():
    """E has half of A's loss in seed 0 and a fourth of it in seed 1: 0.375 of it, but 0.3 of A's mean."""
    runs = [entry(config, seed) for config in "AE" for seed in (0, 1)]
    rows = pd.concat([losses(run, [loss] * 20) for run, loss in zip(runs, [1.0, 4.0, 0.5, 1.0], strict=True)])
    loss, ratio = draw(loss_curves, runs_frame(*runs), rows, "A").axes
    assert {label: set(y) for label, (_, y) in lists(loss).items()} == {"A": {2.5}, "E": {0.75}}
    assert {label: set(y) for label, (_, y) in lists(ratio).items()} == {"A": {1.0}, "E": {0.375}}


@pytest.mark.parametrize("runs", [[entry("E")], [entry("A"), entry("A", lr=1e-4), entry("E")]], ids=["none", "two"])
def test_without_exactly_one_baseline_there_are_no_ratios(runs):
    rows = pd.concat([losses(run, [1.0, 0.5]) for run in runs])
    loss, ratio = draw(loss_curves, runs_frame(*runs), rows, "A").axes
    assert len(arrays(loss)) == len(runs)
    assert arrays(ratio) == {}


def test_ratios_are_shown_at_the_scale_that_they_end_in():
    a, e = entry("A"), entry("E")
    late = [1.0, 1.125, 0.875, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    rows = pd.concat([losses(a, [1.0] * 10), losses(e, [9.0, *late])]).assign(step=lambda rows: rows["step"] - 5)
    _, ratio = draw(loss_curves, runs_frame(a, e), rows, "A").axes
    assert ratio.get_ylim() == pytest.approx((0.875 - 0.0125, 1.125 + 0.0125))


def heldout_losses(run: dict, reported: list[float], gap: float) -> pd.DataFrame:
    """Rows of heldout.csv every 10 steps, and at the last step also of the tuning part and of other weights."""
    last = 10 * len(reported)
    rows = [
        (10 * position, 0.05, part, loss + (gap if part == "train" else 0))
        for position, loss in enumerate(reported, start=1)
        for part in ("report", "train")
    ]
    rows += [(last, width, part, 99.0) for width in (0.1, np.nan) for part in ("tune", "report", "train")]
    frame = pd.DataFrame([*rows, (last, 0.05, "tune", 99.0)], columns=["step", "ema_width", "part", "loss"])
    return frame.assign(run=run["run"])


def test_held_out_losses_are_those_of_the_reporting_part_and_the_first_width():
    """E has half of A's loss in seed 0 and a fourth of it in seed 1."""
    runs = [entry(config, seed) for config in "AE" for seed in (0, 1)]
    values = [([2.0, 1.0], 0.0), ([8.0, 4.0], -1.0), ([1.0, 0.5], 0.25), ([2.0, 1.0], -0.25)]
    rows = pd.concat([heldout_losses(run, *value) for run, value in zip(runs, values, strict=True)])
    figure = draw(heldout_loss_curves, runs_frame(*runs), rows, "A")
    loss, ratio, gap = figure.axes
    assert lists(loss) == {"A": ([10, 20], [5, 2.5]), "E": ([10, 20], [1.5, 0.75])}
    assert lists(ratio) == {"A": ([10, 20], [1, 1]), "E": ([10, 20], [0.375, 0.375])}
    assert lists(gap) == {"A": ([10, 20], [-0.5, -0.5]), "E": ([10, 20], [0, 0])}
    assert [axes.get_ylabel() for axes in figure.axes] == ["held-out loss", "loss / loss of A", "train − held-out loss"]
    assert "Not shown" not in footnote(figure)


def test_a_run_without_held_out_losses_is_named():
    a, e = entry("A"), entry("E")
    runs = pd.DataFrame([run_row(a), run_row(e, "diverged")])
    figure = draw(heldout_loss_curves, runs, heldout_losses(a, [2.0, 1.0], 0.0), "A")
    assert "Not shown: E (1 diverged)." in footnote(figure)


def test_seeds_that_are_left_after_a_divergence_have_no_mean_loss():
    runs = pd.DataFrame([run_row(entry("A")), run_row(entry("E")), run_row(entry("E", 1), "diverged")])
    losses = pd.concat([heldout_losses(entry("A"), [2.0, 1.0], 0.0), heldout_losses(entry("E"), [0.2, 0.1], 0.0)])
    figure = draw(heldout_loss_curves, runs.assign(tuning="given"), losses, "A")
    assert set(lists(figure.axes[0])) == {"A"}
    assert "E (1 trained beside seeds that diverged), E (1 diverged)" in footnote(figure)
    assert "Learning rates were not tuned" in footnote(figure)


def test_the_residual_stream_is_that_of_the_csv():
    """The magnitudes are 1 at the start, later 3 and 4 after the two blocks; the second seed has 3 times that."""
    seeds = [entry("C", 0), entry("C", 1)]
    magnitudes = stream_magnitudes((seeds[0], 1.0), (seeds[1], 3.0))
    over_blocks, after_last = draw(residual_stream_over_training, runs_frame(*seeds), magnitudes).axes
    assert lists(over_blocks) == {"C": ([0, 50, 100], [2, 7, 7])}
    assert lists(after_last) == {"C": ([0, 50, 100], [2, 8, 8])}
    (band,) = after_last.collections[0].get_paths()
    assert {tuple(point) for point in band.vertices.tolist()} >= {(0, 1), (0, 3), (100, 4), (100, 12)}


def test_a_seed_that_was_traced_less_often_is_left_out_and_named():
    seeds = [entry("C", 0), entry("C", 1)]
    magnitudes = stream_magnitudes((seeds[0], 1.0), (seeds[1], 3.0))
    magnitudes = magnitudes[(magnitudes["run"] == seeds[0]["run"]) | (magnitudes["step"] < 100)]
    runs = runs_frame(*seeds)
    figure = draw(residual_stream_over_training, runs, magnitudes)
    assert lists(figure.axes[1]) == {"C": ([0, 50, 100], [1, 4, 4])}
    assert "Not shown: C (1 trained, not fully evaluated)." in footnote(figure)
    assert set(rows_of_complete_runs(magnitudes, runs, "step")["run"]) == {seeds[0]["run"]}


def test_norms_of_weights_are_those_of_the_blocks():
    c = entry("C")
    values = {(0, b): 1.0 for b in (-1, 0, 1, 2)} | {(100, -1): 9.0, (100, 0): 2.0, (100, 1): 4.0, (100, 2): 8.0}
    magnitudes = pd.concat([
        magnitude_rows(c, values, kind="weight", site="all"),
        magnitude_rows(c, {(0, 0): 7.0}, kind="weight", site="qkv"),
        magnitude_rows(c, {(100, 0): 5.0, (100, 2): 5.0}, kind="weight", site="all").assign(ema_width=np.nan),  # plain
    ])  # fmt: skip
    by_step, by_block = draw(weight_norms, runs_frame(c), magnitudes).axes
    assert lists(by_step) == {"C": ([0, 100], [1, 3])}  # of the blocks 0 and 1 only
    assert lists(by_block) == {"C": ([0, 1, 2, 3], [9, 2, 4, 8])}
    assert [text.get_text() for text in by_block.get_xticklabels()] == ["in", "1", "2", "out"]


def test_gains_keep_their_signs_and_configurations_without_gains_are_not_missed():
    e, a = entry("E"), entry("A")
    magnitudes = pd.concat([
        magnitude_rows(e, {(0, 0): 0.0, (100, 0): -0.5}, kind="gain", site="mlp_gate"),
        magnitude_rows(e, {(0, 1): 0.0, (100, 1): 0.25}, kind="gain", site="noise"),
    ])  # fmt: skip
    figure = draw(learned_gains, runs_frame(e, a), magnitudes)
    gate, final = figure.axes
    assert lists(gate) == {"mlp gate 1": ([0, 100], [0, -0.5])}
    assert lists(final) == {"final noise 2": ([0, 100], [0, 0.25])}
    assert "Not shown" not in footnote(figure)
