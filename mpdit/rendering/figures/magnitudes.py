"""Magnitudes of activations along the depth of the model, at initialization and after training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import style
from ..axes import block_ticks, positive_axis, step_axis
from ..lines import (
    Line,
    Split,
    draw_mean,
    last_step,
    mean_magnitudes,
    mean_over_seeds,
    not_shown_note,
    panels_by_rate,
    rows_after_training,
    rows_of,
    rows_of_complete_runs,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def residual_stream_by_block(runs: pd.DataFrame, magnitudes: pd.DataFrame, split: Split = panels_by_rate) -> Figure:
    """Magnitude of the residual stream by block: left at initialization, right after training."""
    stream = magnitudes[(magnitudes["kind"] == "activation") & (magnitudes["site"] == "residual")]
    initial = stream[stream["step"] == 0]
    final = stream[(stream["step"] > 0) & (stream["step"] == stream.groupby("run")["step"].transform("max"))]
    panels = split(runs)
    figure, grid = style.panels(len(panels), 2, height=2.6, sharey="row")
    ends = {}
    for panel, row in zip(panels, grid, strict=True):
        steps = final.loc[final["run"].isin(panel.runs), "step"]
        after = f"after {steps.max():,} steps" if len(steps) else "after training"
        for axes, when, rows in zip(row, ("at initialization", after), (initial, final), strict=True):
            axes.set(title=f"{panel.title}, {when}" if len(panels) > 1 else when, xlabel="block")
            ends[axes] = [end for line in panel.lines for end in _draw_by_block(axes, rows, line)]
        row[0].set_ylabel("magnitude of the residual stream")
        positive_axis(row[0])
    style.footnote(
        figure,
        "Lines: mean over noise levels; shaded: from the lowest to the highest level. Block 0: the input of the first "
        "block.",
        not_shown_note(runs, final["run"]),
    )
    style.label_ends(figure, ends)
    return figure


def _draw_by_block(axes: Axes, magnitudes: pd.DataFrame, line: Line) -> list[style.LineEnd]:
    """Draw the magnitudes of a configuration over the blocks. Returns the end of the line, if there is any."""
    rows = rows_of(magnitudes, line.runs)
    levels = rows.groupby(["block", "timestep"])["magnitude"].mean().unstack()  # (blocks, noise levels), over seeds
    if levels.empty:
        return []
    blocks = levels.index + 1
    axes.set_xlim(-0.02 * blocks[-1], 1.15 * blocks[-1])
    axes.set_xticks(block_ticks(blocks[-1]))
    mean, low, high = levels.mean(axis=1), levels.min(axis=1), levels.max(axis=1)
    return [style.line(axes, line.label, line.config, blocks, mean, low, high)]


SITES = {  # site of model.magnitudes: title of its panel
    "attention_input": "attention, input",
    "attention_output": "attention, output",
    "mlp_input": "MLP, input",
    "mlp_output": "MLP, output",
    "residual": "residual stream",
}


def sites_within_a_block(runs: pd.DataFrame, magnitudes: pd.DataFrame) -> Figure:
    """Magnitudes at each site of a block: by block after training above, over training below."""
    rows = magnitudes[
        (magnitudes["kind"] == "activation") & (magnitudes["block"] >= 0) & magnitudes["site"].isin(SITES)
    ]
    rows = mean_magnitudes(rows_of_complete_runs(rows, runs, "step"), "step", "block", "site")
    final, panels, last = rows_after_training(rows), panels_by_rate(runs), last_step(runs, rows)
    figure, grid = style.panels(2 * len(panels), len(SITES), height=1.7, sharey="row")
    looks = {}
    for number, panel in enumerate(panels):
        above, below = grid[2 * number], grid[2 * number + 1]
        for site, by_block, by_step in zip(SITES, above, below, strict=True):
            site_final, site_rows = final[final["site"] == site], rows[rows["site"] == site]
            by_block.set(title=SITES[site], xlabel="block")
            step_axis(by_step, last)
            by_step.locator_params(axis="x", nbins=2)
            for line in panel.lines:
                after_training = rows_of(site_final, line.runs).assign(block=lambda rows: rows["block"] + 1)
                blocks = mean_over_seeds(after_training, "block")
                if draw_mean(by_block, line.label, line.config, blocks):
                    by_block.set_xticks(block_ticks(int(blocks.index.max()), most=4))
                    looks[line.label] = style.look_of(line.config)
                steps = mean_over_seeds(rows_of(site_rows, line.runs), "step", spread="block")
                look = style.look_of(line.config) | {"markevery": 0.3, "markersize": 3}
                draw_mean(by_step, line.label, look, steps)
        above[0].set_ylabel("after training")
        below[0].set_ylabel("over training")
        positive_axis(above[0])
        positive_axis(below[0])
        if len(panels) > 1:
            above[0].set_title(f"{panel.title}\n{SITES['attention_input']}")
    style.legend(figure, looks)
    style.footnote(
        figure,
        "Magnitudes. Over training: mean over blocks, shaded from the lowest to the highest block.",
        not_shown_note(runs, rows["run"]),
    )
    style.label_ends(figure, {axes: [] for axes in grid.flat})
    return figure
