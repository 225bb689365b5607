"""Figures of FIDs: over training, by learning rate, by EMA width.

A line holds scores of one protocol, but for what is on its x axis; other protocols have panels of their own.
"""

import math

from ..rendering import style as plots
from ..rendering import table_format as tables
from ..rendering.lines import draw, left_out, letter_panels, model_panels, of, over_seeds, seeds_told, whole
from ..rendering.protocol_words import phrase, shared_protocol
from ..rendering.registry import figure
from ..results import summary

FACTORS = {"fid": 1, "kid": 1000}  # the metrics drawn side by side, and what they are multiplied by
FIXED_WIDTH = 0.05  # the EMA width of the paper's samples


@figure(
    "fid_over_training",
    experiments=("over_training",),
    reads=("runs", "fid"),
    caption="FID (left) and KID (right) over training, of samples from snapshots of the EMA under one protocol: means "
    "over seeds, shaded from the lowest to the highest seed. Where there are fewer samples than features, KID is the "
    "one to go by. Grey: real images against real images. Distances on other features than Inception's are called FD "
    "and KD.",
)
def fid_over_training(data):
    runs = data["runs"]

    def dress(axes, rows):
        plots.step_axis(axes, max(runs["steps"].max(), rows["step"].max() if len(rows) else 0))
        plots.positive_axis(axes)

    return _score_figure(data, model_panels(runs), "step", dress)


@figure(
    "learning_rate",
    experiments=("learning_rate",),
    reads=("runs", "fid"),
    caption="FID (left) and KID (right) by learning rate, each letter at its own last step: means over seeds, shaded "
    "from the lowest to the highest seed. Above, each letter's rates at which runs diverged, with how many did; they "
    "are in no mean. Where there are fewer samples than features, KID is the one to go by. Grey: real images against "
    "real images. Distances on other features than Inception's are called FD and KD.",
)
def learning_rate(data):
    runs = data["runs"]
    rates = sorted(runs["lr"].unique())

    def dress(axes, rows):
        axes.set(xscale="log", xlabel="learning rate")
        axes.set_xticks(rates, [tables.rate(lr) for lr in rates])
        axes.set_xticks([], minor=True)
        axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3 * (rates[-1] / rates[0]) ** 0.1)
        plots.positive_axis(axes)

    return _score_figure(data, letter_panels(runs), "lr", dress, finish=_mark_diverged)


def _mark_diverged(axes, lines, rows) -> None:
    """Above each rate the letters of which runs diverged there: `A ×`, or `A × 2/5` where others did not."""
    placed = {}
    for label, look, members in lines:
        for lr, of_rate in members.groupby("lr"):
            count, total = (of_rate["status"] == "diverged").sum(), len(of_rate)
            if count:
                placed[lr] = placed.get(lr, -1) + 1
                told = f"{label} ×" + (f" {count}/{total}" if total > 1 else "")
                axes.annotate(
                    told, (lr, 1), xycoords=("data", "axes fraction"), xytext=(0, -1 - 8 * placed[lr]), ha="center",
                    textcoords="offset points", va="top", fontsize=6.5, fontweight="bold",
                    color=plots.LOOKS[look]["color"],
                )  # fmt: skip
    if placed:
        plots.headroom(axes, 0.09 * (max(placed.values()) + 1))


@figure(
    "ema_width",
    experiments=("ema_width",),
    reads=("runs", "fid"),
    caption="FID (left) and KID (right) by the width of the EMA, rebuilt after training: means over seeds, shaded from "
    "the lowest to the highest seed. A star marks the width that is best for a letter; it is chosen by the metric that "
    "decides (KID where there are fewer samples than features), on the first sampling seed where there are several, "
    "and the others are drawn, so that choice does not flatter the result. Dotted: the width that is used elsewhere. "
    "Grey: real images against real images. Distances on other features than Inception's are called FD and KD.",
)
def ema_width(data):
    fid = data["fid"].assign(width=data["fid"]["ema_width"].astype(float).fillna(0.0))
    widths = sorted(fid["width"].unique())

    def dress(axes, rows):
        axes.set_xlabel("EMA width, relative to the step")
        axes.set_xticks(widths, [f"{width:g}" if width else "none" for width in widths])
        if widths:
            axes.set_xlim(widths[0] - 0.01, widths[-1] + 0.1 * (widths[-1] - widths[0]) + 0.01)
        if FIXED_WIDTH in widths:
            axes.axvline(FIXED_WIDTH, color=plots.GREY, linestyle=":", linewidth=0.8, zorder=1)

    told = f"Star: the width that is best for a letter{_chosen_on(fid)}. Dotted: the fixed width, {FIXED_WIDTH:g}."
    panels = model_panels(data["runs"])
    return _score_figure({**data, "fid": fid}, panels, "width", dress, finish=_mark_best, shown=_judged, told=told)


def _chosen_on(fid) -> str:
    if fid["sampling_seed"].nunique() > 1:
        return f", chosen on sampling seed {fid['sampling_seed'].min():g}; drawn: the others"
    return ", chosen on the scores that are drawn"


def _judged(rows):
    """The scores of all sampling seeds but the first, on which widths are chosen; of the first where it is alone."""
    others = rows[rows["sampling_seed"] > rows["sampling_seed"].min()]
    return others if len(others) else rows


def _mark_best(axes, lines, rows) -> None:
    """A star on each line at the width with the lowest mean on the first sampling seed."""
    choosing = rows[rows["sampling_seed"] == rows["sampling_seed"].min()]
    metric = "kid" if _deficient(rows) and rows["kid"].notna().any() else "fid"
    curves = {curve.get_label(): curve for curve in axes.lines}
    for label, look, members in lines:
        found = over_seeds(of(choosing, members), "width", metric)["mean"]
        if label in curves and len(found) > 1:
            drawn = dict(zip(*curves[label].get_data(), strict=True))
            if found.idxmin() in drawn:
                place = found.idxmin(), drawn[found.idxmin()]
                axes.plot(*place, "*", color=plots.LOOKS[look]["color"], mec="white", mew=0.6, ms=12, zorder=6)


# ---------------------------------------------------------------------------------------------------------------------


def _score_figure(data, panels, x: str, dress, finish=None, shown=lambda rows: rows, told: str = ""):
    """FID and KID side by side over the column `x` of the scores, a row a panel of runs and protocol.

    `dress(axes, rows)` sets up the axes once the lines are there, `finish(axes, lines, rows)` adds what a figure has of
    its own, `shown(rows)` picks the scores that are drawn, `told` is said beneath.
    """
    from ..experiment.metric_names import metric_label

    runs, fid = data["runs"], data["fid"]
    found = _by_protocol(panels, fid, {"step": "step", "width": "ema_width"}.get(x))
    canvas, grid = plots.panels(len(found), len(FACTORS), height=2.6)
    ends, drawn = {}, set()
    for (title, lines, rows), row in zip(found, grid, strict=True):
        rows = whole(rows, runs, x, "sampling_seed")
        drawn |= set(rows["run"])
        for axes, (metric, factor) in zip(row, FACTORS.items(), strict=True):
            scores = shown(rows)
            scores = scores.assign(score=factor * scores[metric]).dropna(subset="score")
            ends[axes] = [
                end for label, look, members in lines
                for end in draw(axes, label, look, over_seeds(of(scores, members), x, "score"))
            ]  # fmt: skip
            dress(axes, rows)
            if finish:
                finish(axes, lines, rows)
            if len(rows):
                named = metric_label(rows["features"].iloc[0], metric)
                axes.set_ylabel(named if factor == 1 else f"{named} ×10³")
                _floor(axes, factor * rows[f"{metric}_floor"].iloc[0])
        row[0].set_title(title if len(found) > 1 else "")
    notes = [seeds_told(runs), told, *_notes(fid), left_out(runs, drawn)]
    plots.footnote(canvas, " ".join(filter(None, notes)))
    plots.label_ends(canvas, ends)
    return canvas


def _by_protocol(panels, fid, free: str | None) -> list[tuple[str, list, object]]:
    """A row of panels a panel of runs and protocol, all of it but `free` being fixed: title, lines and its scores.

    Runs without any score have one row, without scores.
    """
    keys, found = [key for key in summary.PROTOCOL if key != free], []
    for title, lines in panels:
        scores = fid[fid["run"].isin({run for *_, members in lines for run in members["run"]})]
        varying = [key for key in keys if scores[key].nunique(dropna=False) > 1]
        for _, rows in scores.groupby(keys, sort=False, dropna=False) if len(scores) else [(None, scores)]:
            told = [words for key in varying if (words := phrase(key, rows[key].iloc[0]))]
            found.append((", ".join([title, *told]), lines, rows))
    return found


def _deficient(fid) -> bool:
    return fid["fid_rank_deficient"].astype(str).eq("True").any()


def _notes(fid) -> list[str]:
    """What a reader must know of how the scores were taken."""
    if fid.empty:
        return []
    notes = [f"Protocol: {shared_protocol(fid)}; lower is better."]
    if _deficient(fid):
        notes.append(
            "There are fewer samples than features: the Fréchet distance is biased, the kernel distance decides."
        )
    return notes


def _floor(axes, floor: float) -> None:
    """What real images score against real images: a line where it is in sight, else words, so lines keep their room."""
    low, high = axes.get_ylim()
    if math.isnan(floor):
        return
    if low == 0 and -0.1 * high < floor < 0:  # an unbiased distance may be a little below zero
        axes.set_ylim(bottom=1.5 * floor)
        low = 1.5 * floor
    if low <= floor <= high:
        axes.axhline(floor, color=plots.GREY, linestyle="--", linewidth=0.8, zorder=1)
        axes.annotate("real images", (0.01, floor), xycoords=("axes fraction", "data"), xytext=(0, 1), **FLOOR_WORDS)
        return
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=low - 0.1 * (high - low))
    told = f"real images: {floor:.4g} (below)".replace("-", "−")
    axes.annotate(told, (0.01, 0), xycoords="axes fraction", xytext=(0, 2), **FLOOR_WORDS)


FLOOR_WORDS = {"textcoords": "offset points", "va": "bottom", "fontsize": 6.5, "color": plots.GREY}
