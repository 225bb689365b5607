"""Losses, magnitudes, norms of weights and learned gains over training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...results.shown_study import shown_study
from .. import style
from ..axes import block_ticks, limit_to_late_values, positive_axis, step_axis
from ..lines import (
    SURVIVED,
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
    settings,
    spread_note,
    with_survivors,
)
from ..names import modulation_name
from ..tuning_notes import tuning_note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# ---------------------------------------------------------------------------------------------------------------------
# Loss

LOSS_POINTS = 100  # per curve at most: neighboring logged steps are averaged


def loss_curves(runs: pd.DataFrame, training: pd.DataFrame, baseline: str, split: Split = panels_by_rate) -> Figure:
    """Training loss, and its ratio to the loss of the `baseline` (a `Line.config`) at the same seed and step.

    A cross marks where a run diverged, at its last finite loss.
    """
    training = training[training["loss"].abs() < float("inf")]
    panels = split(runs)
    figure, grid = style.panels(len(panels), 2, height=2.6)
    ends, last = {}, last_step(runs, training)
    for panel, (left, right) in zip(panels, grid, strict=True):
        ratios = _relative_losses(training, panel.lines, baseline)
        for axes, rows, quantity in (
            (left, training, "loss"),
            (right, ratios, f"loss / loss of {modulation_name(baseline)}"),
        ):
            axes.set_title(panel.title if len(panels) > 1 else "")
            axes.set_ylabel(quantity)
            step_axis(axes, last)
            ends[axes] = [end for line in panel.lines for end in _draw_loss(axes, rows, line)]
        positive_axis(left)
        limit_to_late_values(right, last / 10)
    style.footnote(figure, tuning_note(runs.to_dict("records")), not_shown_note(runs, training["run"]))
    style.label_ends(figure, ends)
    return figure


def _relative_losses(training: pd.DataFrame, lines: Sequence[Line], baseline: str) -> pd.DataFrame:
    """The rows with each loss divided by that of the baseline's run of the same seed at the same step.

    There are none where the baseline has no line, or has several (one per learning rate).
    """
    import pandas as pd

    seeds = pd.concat([line.runs[["run", "seed"]] for line in lines])
    rows = training.merge(seeds, on="run")
    baselines = [line.runs["run"] for line in lines if line.config == baseline]
    base = rows[rows["run"].isin(baselines[0] if len(baselines) == 1 else [])]
    rows = rows.merge(base[["seed", "step", "loss"]], on=["seed", "step"], suffixes=("", "_of_baseline"))
    return rows.assign(loss=rows["loss"] / rows["loss_of_baseline"])


def _draw_loss(axes: Axes, training: pd.DataFrame, line: Line) -> list[style.LineEnd]:
    """Draw the loss of a configuration. Returns the end of the line, if there is any."""
    rows = rows_of(training, line.runs)
    if rows.empty:
        return []
    position = rows.groupby("run").cumcount()
    points_per_mean = -(-(position.max() + 1) // LOSS_POINTS)
    curve = rows.groupby(position // points_per_mean)[["step", "loss"]].mean()
    diverged = line.runs[line.runs["status"] == "diverged"]
    ended = rows_of(rows, diverged).groupby("run").tail(1)
    axes.plot(ended["step"], ended["loss"], "x", color=style.look_of(line.config)["color"], ms=7, mew=1.8, zorder=5)
    return [style.line(axes, line.label, line.config, curve["step"], curve["loss"], markevery=0.1)]


def heldout_loss_curves(
    runs: pd.DataFrame, heldout: pd.DataFrame, baseline: str, split: Split = panels_by_rate
) -> Figure:
    """Held-out loss of the EMA, its ratio to that of the `baseline` (a `Line.config`) at the same seed and step, and
    the loss on images that were trained on, minus the held-out loss.

    A setting of which a seed diverged has no lines: those of the seeds that are left would flatter it.
    """
    note, runs = tuning_note(runs.to_dict("records")), with_survivors(runs)
    heldout = heldout[~heldout["run"].isin(runs.loc[runs["status"] == SURVIVED, "run"])]
    tracked = heldout.groupby("run")["ema_width"].transform("first")  # every snapshot is measured in this width
    heldout = rows_of_complete_runs(heldout[heldout["ema_width"] == tracked], runs, "step")
    key = ["run", "step"]
    reported = heldout[heldout["part"] == "report"][[*key, "loss"]]
    both = reported.merge(heldout[heldout["part"] == "train"][[*key, "loss"]], on=key, suffixes=("", "_trained"))
    gaps = both.assign(loss=both["loss_trained"] - both["loss"])
    panels, last = split(runs), last_step(runs, heldout)
    figure, grid = style.panels(len(panels), 3, height=2.4)
    ends = {}
    for panel, row in zip(panels, grid, strict=True):
        ratios = _relative_losses(reported, panel.lines, baseline)
        quantities = ("held-out loss", f"loss / loss of {modulation_name(baseline)}", "train − held-out loss")
        for axes, rows, quantity in zip(row, (reported, ratios, gaps), quantities, strict=True):
            axes.set_title(panel.title if len(panels) > 1 and axes is row[0] else "")
            axes.set_ylabel(quantity)
            step_axis(axes, last)
            axes.set_xlim(0, 1.2 * last)  # three panels are narrow: room for labels
            ends[axes] = [end for line in panel.lines for end in _draw_by_step(axes, line, rows, value="loss")]
        positive_axis(row[0])
    style.footnote(figure, spread_note(runs), note, not_shown_note(runs, reported["run"]))
    style.label_ends(figure, ends)
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Magnitudes


def residual_stream_over_training(runs: pd.DataFrame, magnitudes: pd.DataFrame) -> Figure:
    """Magnitude of the residual stream over training: left the mean over blocks, right after the last block."""
    rows = magnitudes[
        (magnitudes["kind"] == "activation") & (magnitudes["site"] == "residual") & (magnitudes["block"] >= 0)
    ]
    rows = mean_magnitudes(rows_of_complete_runs(rows, runs, "step"), "step", "block")
    last_block = rows[rows["block"] == rows.groupby("run")["block"].transform("max")]
    panels, last = panels_by_rate(runs), last_step(runs, rows)
    figure, grid = style.panels(len(panels), 2, height=2.6, sharey="row")
    ends = {}
    for panel, row in zip(panels, grid, strict=True):
        for axes, where, shown in zip(
            row, ("mean over blocks", "after the last block"), (rows, last_block), strict=True
        ):
            axes.set_title(f"{panel.title}, {where}" if len(panels) > 1 else where)
            step_axis(axes, last)
            ends[axes] = [end for line in panel.lines for end in _draw_by_step(axes, line, shown)]
        row[0].set_ylabel("magnitude of the residual stream")
        positive_axis(row[0])
    style.footnote(figure, spread_note(runs), not_shown_note(runs, rows["run"]))
    style.label_ends(figure, ends)
    return figure


def _draw_by_step(
    axes: Axes, line: Line, rows: pd.DataFrame, spread: str = "run", value: str = "magnitude"
) -> list[style.LineEnd]:
    means = mean_over_seeds(rows_of(rows, line.runs), "step", value, spread)
    return draw_mean(axes, line.label, line.config, means)


def weight_norms(runs: pd.DataFrame, magnitudes: pd.DataFrame) -> Figure:
    """Norms of weights, as averaged: left over training, right by block after training, with embeddings and final
    layer."""
    rows = magnitudes[(magnitudes["kind"] == "weight") & (magnitudes["site"] == "all")]
    rows = rows[rows["ema_width"].notna() | (rows["step"] == 0)]  # without the plain weights
    rows = rows_of_complete_runs(rows, runs, "step")
    final_layer = rows.groupby("run")["block"].transform("max")
    of_blocks, final = rows[(rows["block"] >= 0) & (rows["block"] < final_layer)], rows_after_training(rows)
    panels, last = panels_by_rate(runs), last_step(runs, rows)
    figure, grid = style.panels(len(panels), 2, height=2.6, sharey="row")
    ends: dict[Axes, list[style.LineEnd]] = {}
    for panel, (by_step, by_block) in zip(panels, grid, strict=True):
        by_step.set_title(f"{panel.title}, over training" if len(panels) > 1 else "over training")
        by_block.set(title="after training", xlabel="block")
        step_axis(by_step, last)
        ends[by_step], ends[by_block] = [], []
        for line in panel.lines:
            ends[by_step] += _draw_by_step(by_step, line, of_blocks, spread="block")
            after_training = rows_of(final, line.runs).assign(block=lambda rows: rows["block"] + 1)
            blocks = mean_over_seeds(after_training, "block")
            ends[by_block] += draw_mean(by_block, line.label, line.config, blocks)
            if len(blocks):
                _label_in_and_out(by_block, int(blocks.index.max()))
        by_step.set_ylabel("norm of weights")
        positive_axis(by_step)
    style.footnote(
        figure,
        "Left: mean over blocks, shaded from the lowest to the highest block. in: embeddings; out: the final layer.",
        not_shown_note(runs, rows["run"]),
    )
    style.label_ends(figure, ends)
    return figure


def _label_in_and_out(axes: Axes, final_layer: int) -> None:
    """Label an axis of blocks from the embeddings, at 0, to the final layer."""
    ticks = block_ticks(final_layer - 1)
    axes.set_xticks([*ticks, final_layer], ["in", *map(str, ticks[1:]), "out"])
    axes.set_xlim(-0.02 * final_layer, 1.15 * final_layer)


# ---------------------------------------------------------------------------------------------------------------------
# Gains

HEADS = ("scale", "shift", "angle", "direction", "gate")  # of a block's modulation, in the order of panels
BRANCH_STYLES = {"attention": "-", "mlp": (0, (3, 1))}
FINAL_LAYER_LOOKS: dict[str, style.Look] = {
    "scale": {"color": "0", "linestyle": "-"},
    "shift": {"color": "0.25", "linestyle": (0, (3, 1))},
    "noise": {"color": "0.4", "linestyle": (0, (1, 1))},
    "variance": {"color": "0.5", "linestyle": (0, (5, 1, 1, 1))},
}


def learned_gains(runs: pd.DataFrame, magnitudes: pd.DataFrame) -> Figure:
    """Learned gains over training: one row per setting, one column per head of the modulation, and the final layer."""
    configs = shown_study().ladder.configs
    runs = runs[[configs[config].weights != "plain" for config in runs["config"]]]  # the others have none
    rows = rows_of_complete_runs(magnitudes[magnitudes["kind"] == "gain"], runs, "step")
    shown = [setting for setting in settings(runs) if setting.runs["run"].isin(rows["run"]).any()]
    rows = mean_magnitudes(rows, "step", "block", "site")
    # A site is `attention_scale` or `mlp_gate` in a block, `noise` in the final layer.
    parts = [site.rpartition("_") for site in rows["site"]]
    rows = rows.assign(branch=[branch or "final" for branch, _, _ in parts], head=[head for _, _, head in parts])
    heads = [head for head in HEADS if ((rows["head"] == head) & (rows["branch"] != "final")).any()]
    last = last_step(runs, rows)
    figure, grid = style.panels(max(len(shown), 1), len(heads) + 1, height=1.7, sharey="row")
    ends: dict[Axes, list[style.LineEnd]] = {axes: [] for axes in grid.flat}
    for setting, row in zip(shown, grid, strict=False):
        panels = dict(zip([*heads, "final layer"], row, strict=True))
        own = rows_of(rows, setting.runs)
        means: Any = own.groupby(["step", "block", "branch", "head"])["magnitude"].mean().unstack("step")
        block_looks = style.ramp(sorted(own.loc[own["branch"] != "final", "block"].unique()))
        for (block, branch, head), gains in means.iterrows():
            label = f"{branch} {head} {block + 1}"
            if branch == "final":
                end = style.line(row[-1], label, {"linewidth": 1, **FINAL_LAYER_LOOKS[head]}, gains.index, gains)
                ends[row[-1]].append(replace(end, label=head))
            else:
                look = {"linewidth": 1, "linestyle": BRANCH_STYLES[branch], **block_looks[block]}
                style.line(panels[head], label, look, gains.index, gains)
        for title, axes in panels.items():
            axes.set_title(title)
            axes.plot([0, last], [0, 0], color="0.6", linewidth=0.6, zorder=1)
            step_axis(axes, last)
            axes.set_xticks([0, last])
        row[-1].set_xlim(0, 1.8 * last)  # room for the names of heads
        row[0].set_title(f"{setting.title}\n{row[0].get_title(loc='left')}")
        row[0].set_ylabel("gain")
    if len(runs):
        how = "Solid: attention; dashed: MLP; from dark to light: from the first block to the last."
        style.footnote(figure, how, not_shown_note(runs, rows["run"]))
    else:
        style.footnote(figure, "No configuration of this study has gains.")
    style.label_ends(figure, ends)
    return figure
