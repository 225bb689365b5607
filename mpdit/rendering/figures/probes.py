"""What probes measure: angles of rotation, and magnitudes under correlated inputs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from .. import style
from ..axes import block_ticks, positive_axis
from ..lines import (
    draw_mean,
    mean_magnitudes,
    mean_over_seeds,
    not_shown_note,
    panels_by_rate,
    rows_after_training,
    rows_of,
    rows_of_complete_runs,
    settings,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROTATING = ("rotate", "scale_rotate")
BRANCHES = {"attention_angle": "attention", "mlp_angle": "MLP"}


def rotation_angles(runs: pd.DataFrame, angles: pd.DataFrame) -> Figure:
    """Angles of rotation by block and noise level after training: one row per setting, one column per branch."""
    rows = rows_after_training(rows_of_complete_runs(angles, runs, "step"))
    rows = rows.assign(block=rows["block"] + 1)
    rotating = runs[runs["modulation"].isin(ROTATING) | runs["run"].isin(rows["run"])]
    shown = settings(rotating)
    figure, grid = style.panels(max(len(shown), 1), len(BRANCHES), height=2.4, sharey="row")
    looks = style.ramp(sorted(rows["timestep"].unique()))
    ends: dict[Axes, list[style.LineEnd]] = {axes: [] for axes in grid.flat}
    for setting, row in zip(shown, grid, strict=False):
        own = rows_of(rows, setting.runs)
        for axes, (site, branch) in zip(row, BRANCHES.items(), strict=True):
            axes.set(title=f"{setting.title}: {branch}" if len(shown) > 1 else branch, xlabel="block")
            for timestep, at_level in own[own["site"] == site].groupby("timestep"):
                look = looks[timestep] | {"marker": "o", "markersize": 2.5}
                ends[axes] += draw_mean(axes, f"t = {timestep:g}", look, mean_over_seeds(at_level, "block", "radians"))
            if len(own):
                depth = int(own["block"].max())
                axes.set_xticks([tick for tick in block_ticks(depth) if tick])
                axes.set_xlim(1 - 0.03 * depth, 1 + 1.25 * max(depth - 1, 1))
        row[0].set_ylabel("angle (radians, root mean square)")
        if len(own):
            row[0].set_ylim(bottom=0)
    if shown:
        style.footnote(figure, "t: timestep, out of 1,000.", not_shown_note(rotating, rows["run"]))
    else:
        style.footnote(figure, "No run of this study rotates pairs.")
    style.label_ends(figure, ends)
    return figure


SITES = {"attention_output": "attention, output", "mlp_output": "MLP, output", "residual": "residual stream"}


def correlated_inputs(runs: pd.DataFrame, magnitudes: pd.DataFrame, configs: Collection[str]) -> Figure:
    """Magnitudes of these configurations by the correlation of inputs: initialization above, after training below."""
    runs = runs[runs["config"].isin(configs)]
    rows = magnitudes[
        (magnitudes["kind"] == "correlated") & (magnitudes["block"] >= 0) & magnitudes["site"].isin(SITES)
    ]
    rows = mean_magnitudes(rows_of_complete_runs(rows, runs, "step"), "step", "block", "site", "correlation")
    rows_by_time = {"at initialization": rows[rows["step"] == 0], "after training": rows_after_training(rows)}
    panels = panels_by_rate(runs)
    figure, grid = style.panels(len(rows_by_time) * max(len(panels), 1), len(SITES), height=1.9, sharey="row")
    # Correlations are spaced evenly on the axis, whatever their values.
    positions = {value: position for position, value in enumerate(sorted(rows["correlation"].unique()))}
    ends: dict[Axes, list[style.LineEnd]] = {axes: [] for axes in grid.flat}
    for number, panel in enumerate(panels):
        two_rows = grid[len(rows_by_time) * number :]
        for (when, at_time), row in zip(rows_by_time.items(), two_rows, strict=False):
            for axes, (site, title) in zip(row, SITES.items(), strict=True):
                at_site = at_time[at_time["site"] == site]
                at_site = at_site.assign(position=at_site["correlation"].map(positions))
                for line in panel.lines:
                    points = mean_over_seeds(rows_of(at_site, line.runs), "position", spread="block")
                    ends[axes] += draw_mean(axes, line.label, line.config, points)
                axes.set(title=title, xlabel="correlation of neighbors")
                axes.set_xticks(list(positions.values()), [f"{value:g}" for value in positions])
                axes.set_xlim(-0.2, max(len(positions) - 1, 1) * 1.15)
            row[0].set_ylabel(f"magnitude\n{when}")
            positive_axis(row[0])
        if len(panels) > 1:
            two_rows[0][0].set_title(f"{panel.title}\n{two_rows[0][0].get_title(loc='left')}")
    style.footnote(
        figure,
        "Mean over blocks, shaded from the lowest to the highest block. Inputs have magnitude 1 at every correlation.",
        not_shown_note(runs, rows["run"]),
    )
    style.label_ends(figure, ends)
    return figure
