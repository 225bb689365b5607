"""FID and KID side by side: over training, by learning rate, by EMA width.

A line holds scores of one protocol, except for what is on its x axis. Other protocols have panels of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...experiment.metric_names import metric_label
from ...results import summary
from .. import style
from ..axes import add_headroom, points, positive_axis, step_axis
from ..deciding_metric import TOO_FEW_SAMPLES, deciding_metric, has_too_few_samples
from ..lines import (
    SURVIVED,
    Line,
    Panel,
    draw_mean,
    last_step,
    mean_over_seeds,
    not_shown_note,
    panels_by_config,
    panels_by_rate,
    rows_of,
    rows_of_complete_runs,
    spread_note,
    with_survivors,
)
from ..number_format import rate
from ..protocol_words import phrase, shared_protocol
from ..tuning_notes import tuning_note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FACTORS = {"fid": 1, "kid": 1000}  # the metrics, from left to right, and what they are multiplied by


def fid_over_training(runs: pd.DataFrame, fid: pd.DataFrame) -> Figure:
    """Scores over the step of the snapshot."""

    def set_up(axes: Axes, rows: pd.DataFrame) -> None:
        step_axis(axes, last_step(runs, rows))
        positive_axis(axes)

    note = tuning_note(runs.to_dict("records"))
    return _score_figure(runs, fid, panels_by_rate(runs), XAxis("step", "step", set_up), note=note)


def fid_by_learning_rate(runs: pd.DataFrame, fid: pd.DataFrame) -> Figure:
    """Scores over the learning rate, with the rates at which runs diverged marked above."""
    rates = sorted(runs["lr"].unique())

    def set_up(axes: Axes, rows: pd.DataFrame) -> None:
        axes.set(xscale="log", xlabel="learning rate")
        axes.set_xticks(rates, [rate(lr) for lr in rates])
        axes.set_xticks([], minor=True)
        axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3 * (rates[-1] / rates[0]) ** 0.1)
        positive_axis(axes)

    return _score_figure(runs, fid, panels_by_config(runs), XAxis("lr", None, set_up), annotate=_mark_diverged)


def _mark_diverged(axes: Axes, lines: Sequence[Line], rows: pd.DataFrame) -> None:
    """Above each rate, the configurations whose runs diverged there: `A ×`, or `A × 2/5` where other seeds did not."""
    marks: dict[Any, int] = {}  # per rate
    for line in lines:
        for lr, members in line.runs.groupby("lr"):
            count, total = (members["status"] == "diverged").sum(), len(members)
            if count:
                text = f"{line.label} × {count}/{total}" if total > 1 else f"{line.label} ×"
                axes.annotate(
                    text, (lr, 1), xycoords=("data", "axes fraction"), xytext=(0, -1 - 8 * marks.get(lr, 0)),
                    ha="center", textcoords="offset points", va="top", fontsize=6.5, fontweight="bold",
                    color=style.look_of(line.config)["color"],
                )  # fmt: skip
                marks[lr] = marks.get(lr, 0) + 1
    if marks:
        add_headroom(axes, 0.09 * max(marks.values()))


def fid_by_ema_width(runs: pd.DataFrame, fid: pd.DataFrame, usual_width: float) -> Figure:
    """Scores over the EMA width, with a star at each configuration's best and a dotted line at the usual width.

    The best width is chosen on the first sampling seed of each run, and the scores of the others are shown, where there
    are others.
    """
    fid = fid.assign(width=fid["ema_width"].astype(float).fillna(0.0))  # 0: the plain weights
    widths = sorted(fid["width"].unique())

    def set_up(axes: Axes, rows: pd.DataFrame) -> None:
        axes.set_xlabel("EMA width, relative to the step")
        axes.set_xticks(widths, [f"{width:g}" if width else "none" for width in widths])
        if widths:
            axes.set_xlim(widths[0] - 0.01, widths[-1] + 0.1 * (widths[-1] - widths[0]) + 0.01)
        if usual_width in widths:
            axes.axvline(usual_width, color=style.GRAY, linestyle=":", linewidth=0.8, zorder=1)

    if (fid.groupby("run")["sampling_seed"].nunique() > 1).any():
        chosen = "chosen on the first sampling seed of each run; shown are the others"
    else:
        chosen = "chosen on the scores that are shown"
    return _score_figure(
        runs,
        fid,
        panels_by_rate(runs),
        XAxis("width", "ema_width", set_up),
        annotate=_mark_best,
        select=_all_but_first_sampling_seed,
        note=f"Star: the best width of a configuration, {chosen}. Dotted: the usual width, {usual_width:g}. "
        + tuning_note(runs.to_dict("records")),
    )


def _is_first(rows: pd.DataFrame) -> pd.Series:
    """Whether a score is of the first sampling seed of its run."""
    first: pd.Series = rows["sampling_seed"] == rows.groupby("run")["sampling_seed"].transform("min")
    return first


def _all_but_first_sampling_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The scores of all sampling seeds of a run but the first, on which widths are chosen; or of the only one."""
    has_others = rows.groupby("run")["sampling_seed"].transform("nunique") > 1
    return rows[~(_is_first(rows) & has_others)]


def _mark_best(axes: Axes, lines: Sequence[Line], rows: pd.DataFrame) -> None:
    """A star on each line, at the width with the lowest mean on the first sampling seed of each run."""
    if rows.empty:
        return
    first = rows[_is_first(rows)]
    metric = deciding_metric(rows).column
    curves = {curve.get_label(): curve for curve in axes.lines}
    for line in lines:
        means = mean_over_seeds(rows_of(first, line.runs), "width", metric)["mean"]
        if line.label in curves and len(means) > 1:
            heights = dict(zip(*points(curves[line.label]), strict=True))
            best: Any = means.idxmin()
            if best in heights:
                color = style.look_of(line.config)["color"]
                axes.plot(best, heights[best], "*", color=color, mec="white", mew=0.6, ms=12, zorder=6)


# ---------------------------------------------------------------------------------------------------------------------
# What the three have in common


@dataclass(frozen=True)
class XAxis:
    column: str  # of the scores
    protocol_column: str | None  # the column of the protocol that varies along the axis
    set_up: Callable[[Axes, pd.DataFrame], None]  # called with the scores, once the lines are drawn

    def with_gaps(self, means: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
        """The means of a line, with missing ones between them where its runs diverged."""
        if self.column not in summary.SETTING or means.empty:
            return means
        ended = runs.loc[runs["status"] == "diverged", self.column]
        between = ended[(ended > means.index.min()) & (ended < means.index.max())]
        return means.reindex(sorted({*means.index, *between}))


def _unchanged(rows: pd.DataFrame) -> pd.DataFrame:
    return rows


def _score_figure(
    runs: pd.DataFrame,
    fid: pd.DataFrame,
    panels: Sequence[Panel],
    x: XAxis,
    *,
    annotate: Callable[[Axes, Sequence[Line], pd.DataFrame], None] | None = None,
    select: Callable[[pd.DataFrame], pd.DataFrame] = _unchanged,
    note: str = "",
) -> Figure:
    """FID and KID side by side over `x`, one row per panel and protocol.

    A setting of which a seed diverged has no mean: that of the seeds that are left would flatter it. `annotate` adds to
    the axes what is particular to a figure, `select` picks the scores that are shown, `note` is a sentence below.
    """
    runs = with_survivors(runs)
    fid = fid[~fid["run"].isin(runs.loc[runs["status"] == SURVIVED, "run"])]
    protocol_panels = _by_protocol(panels, fid, x.protocol_column)
    figure, grid = style.panels(len(protocol_panels), len(FACTORS), height=2.6)
    ends: dict[Axes, list[style.LineEnd]] = {}
    shown: set[str] = set()
    for panel, row in zip(protocol_panels, grid, strict=True):
        rows = rows_of_complete_runs(panel.scores, runs, x.column, "sampling_seed")
        shown |= set(rows["run"])
        for axes, (metric, factor) in zip(row, FACTORS.items(), strict=True):
            scores = select(rows)
            scores = scores.assign(score=factor * scores[metric]).dropna(subset="score")
            ends[axes] = []
            for line in panel.lines:
                means = mean_over_seeds(rows_of(scores, line.runs), x.column, "score")
                means = x.with_gaps(means, line.runs)
                ends[axes] += draw_mean(axes, line.label, line.config, means)
            x.set_up(axes, rows)
            if annotate:
                annotate(axes, panel.lines, rows)
            if len(rows):
                label = metric_label(rows["features"].iloc[0], metric)
                axes.set_ylabel(label if factor == 1 else f"{label} ×10³")
                _draw_floor(axes, factor * rows[f"{metric}_floor"].iloc[0])
        row[0].set_title(panel.title if len(protocol_panels) > 1 else "")
    style.footnote(figure, spread_note(runs), note, *_score_notes(fid), not_shown_note(runs, shown))
    style.label_ends(figure, ends)
    return figure


@dataclass(frozen=True)
class ProtocolPanel:
    """A panel of runs, of the scores of one protocol."""

    title: str
    lines: list[Line]
    scores: pd.DataFrame


def _by_protocol(panels: Sequence[Panel], fid: pd.DataFrame, free: str | None) -> list[ProtocolPanel]:
    """One panel per panel of runs and protocol, in which everything but the column `free` is the same.

    Runs without any score have one panel without scores.
    """
    keys = [key for key in summary.PROTOCOL if key != free]
    split = []
    for panel in panels:
        scores = fid[fid["run"].isin(panel.runs)]
        if scores.empty:
            split.append(ProtocolPanel(panel.title, panel.lines, scores))
            continue
        varying = [key for key in keys if scores[key].nunique(dropna=False) > 1]
        for _, rows in scores.groupby(keys, sort=False, dropna=False):
            phrases = [phrase(key, rows[key].iloc[0]) for key in varying]
            split.append(ProtocolPanel(", ".join(filter(None, [panel.title, *phrases])), panel.lines, rows))
    return split


def _score_notes(fid: pd.DataFrame) -> list[str]:
    """Sentences on how the scores were measured."""
    if fid.empty:
        return []
    notes = [f"Protocol: {shared_protocol(fid)}. Lower is better."]
    if has_too_few_samples(fid):
        notes.append(f"There are {TOO_FEW_SAMPLES}: the Fréchet distance is biased, the kernel distance decides.")
    return notes


def _draw_floor(axes: Axes, floor: float) -> None:
    """Show the score of real images: as a line if it is in sight, otherwise in words, so that lines keep their room."""
    small_print: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "fontsize": 6.5, "color": style.GRAY}
    low, high = axes.get_ylim()
    if math.isnan(floor):
        return
    if low == 0 and -0.1 * high < floor < 0:  # an unbiased distance may be slightly below zero
        axes.set_ylim(bottom=1.5 * floor)
        low = 1.5 * floor
    if low <= floor <= high:
        axes.axhline(floor, color=style.GRAY, linestyle="--", linewidth=0.8, zorder=1)
        axes.annotate("real images", (0.01, floor), xycoords=("axes fraction", "data"), xytext=(0, 1), **small_print)
        return
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=low - 0.1 * (high - low))
    text = f"real images: {floor:.4g} ({'below' if floor < low else 'above'})".replace("-", "−")
    axes.annotate(text, (0.01, 0), xycoords="axes fraction", xytext=(0, 2), **small_print)
