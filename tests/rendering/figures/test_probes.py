"""Figures of probes against the CSVs that they are drawn from."""

import pandas as pd
from helpers.drawing import draw, lists, magnitude_rows, runs_frame
from helpers.made_up_runs import entry

from mpdit.rendering.figures.probes import correlated_inputs, rotation_angles


def test_angles_are_those_after_training_by_noise_level():
    run = entry("E", modulation="rotate")
    angles = pd.DataFrame([
        {"run": run["run"], "step": step, "ema_width": 0.05, "block": block, "site": "mlp_angle", "timestep": t,
         "radians": (step > 0) * (block + 1) * t / 1000}
        for step in (0, 100) for block in (0, 1) for t in (250, 750)
    ])  # fmt: skip
    attention, mlp = draw(rotation_angles, runs_frame(run, entry("E")), angles).axes
    assert lists(mlp) == {"t = 250": ([1, 2], [0.25, 0.5]), "t = 750": ([1, 2], [0.75, 1.5])}
    assert lists(attention) == {}


def test_correlated_inputs_are_drawn_by_correlation_at_the_start_and_at_the_end():
    c, b = entry("C"), entry("B")
    magnitudes = pd.concat([
        magnitude_rows(
            run, {(0, 0): r + 1, (0, 1): r + 3, (100, 0): 2 * r + 1, (100, 1): 2 * r + 1}, kind="correlated",
            site="residual", correlation=r, timestep=50,
        )
        for run in (c, b) for r in (0.0, 0.5)
    ])  # fmt: skip
    figure = draw(correlated_inputs, runs_frame(c, b), magnitudes, ("A", "C"))
    start, end = figure.axes[2], figure.axes[5]
    assert lists(start) == {"C": ([0, 1], [2, 2.5])}  # not B, which is not among the configurations
    assert lists(end) == {"C": ([0, 1], [1, 2])}
    assert [text.get_text() for text in end.get_xticklabels()] == ["0", "0.5"]
