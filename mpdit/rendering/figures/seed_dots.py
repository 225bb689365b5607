"""Scores and held-out losses of a block: a row per setting, with every seed as a dot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ...experiment.metric_names import metric_label
from ...results import sampling_seeds, summary
from ...results.summary import SeedValues
from .. import style
from ..deciding_metric import TOO_FEW_SAMPLES, has_too_few_samples
from ..names import modulation_name
from ..number_format import rate
from ..protocol_words import phrase, shared_protocol
from ..tuning_notes import tuning_note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_HEIGHT = 0.22  # inches


@dataclass(frozen=True)
class Quantity:
    label: str  # of its axis
    of_seeds: Callable[[SeedValues], Mapping[int, float]]


def seed_dots(
    runs: pd.DataFrame,
    fid: pd.DataFrame,
    heldout: pd.DataFrame | None = None,
    heldout_images: pd.DataFrame | None = None,
) -> Figure:
    """FID, KID and, where there is one, the held-out loss of each setting and protocol, and their means over seeds.

    A setting of which a seed diverged has no mean: that of the seeds that are left would flatter it.
    """
    rows = summary.summarize(runs, fid, heldout, heldout_images)
    quantities = _quantities(rows)
    figure, grid = style.panels(1, len(quantities), height=0.6 + ROW_HEIGHT * len(rows), sharey="row")
    records, labels = rows.to_dict("records"), _labels(rows)
    by_modulation = rows["config"].nunique() == 1 and rows["modulation"].nunique() > 1
    for axes, quantity in zip(grid[0], quantities, strict=True):
        axes.set_xlabel(quantity.label)
        axes.grid(axis="x")
        for position, record in enumerate(records):
            look = style.look_of(record["modulation" if by_modulation else "config"])
            _draw_row(axes, position, record["seed_values"], quantity, look)
        axes.locator_params(axis="x", nbins=5)
        if not axes.lines:
            style.placeholder(axes, "no data yet")
    if len(records):
        grid[0][0].set_yticks(range(len(records)), labels)
        grid[0][0].set_ylim(len(records) - 0.4, -0.6)
    style.footnote(figure, *_notes(runs, rows))
    return figure


def _quantities(rows: pd.DataFrame) -> list[Quantity]:
    features = rows["features"].dropna().unique()
    names = [metric_label(features[0], metric) for metric in ("fid", "kid")] if len(features) == 1 else ["FID", "KID"]
    quantities = [
        Quantity(names[0], lambda values: sampling_seeds.means(values.fid)),
        Quantity(
            f"{names[1]} ×10³",
            lambda values: {seed: 1000 * kid for seed, kid in sampling_seeds.means(values.kid).items()},
        ),
    ]
    if rows["heldout_loss_mean"].notna().any():
        quantities.append(Quantity("held-out loss", lambda values: values.losses.by_seed))
    return quantities


def _draw_row(axes: Axes, position: int, values: SeedValues, quantity: Quantity, look: style.Look) -> None:
    found = [value for value in quantity.of_seeds(values).values() if value == value]
    axes.plot(found, [position] * len(found), look["marker"], color=look["color"], alpha=0.7, linestyle="", ms=4)
    if found and not values.diverged:
        mean = fmean(found)
        axes.plot([mean, mean], [position - 0.32, position + 0.32], "-", color=look["color"], linewidth=1.6)
    if values.diverged:
        axes.annotate(
            f"{len(values.diverged)} diverged", (1, position), xycoords=("axes fraction", "data"), ha="right",
            va="center", fontsize=6.5, color=look["color"],
        )  # fmt: skip


def _labels(rows: pd.DataFrame) -> list[str]:
    """What tells each row from the others, in words."""
    words: dict[str, Callable[[Any], str]] = {
        "config": str, "model": str, "modulation": modulation_name, "lr": rate,
    }  # fmt: skip
    has_rates = (rows.groupby(["model", "config", "modulation"])["lr"].nunique() > 1).any()
    named = [key for key in words if rows[key].nunique() > 1 and (key != "lr" or has_rates)] or ["config"]
    drawn = [key for key in summary.varying(rows) if key in summary.PROTOCOL]
    labels = []
    for record in rows.to_dict("records"):
        phrases = [phrase(key, record[key]) for key in drawn if record["n"]]
        labels.append(", ".join(filter(None, [*(words[key](record[key]) for key in named), *phrases])))
    return labels


def _notes(runs: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    notes = ["Dots: seeds; bars: their means, which a setting lacks where a seed diverged."]
    scored = rows[rows["n"] > 0]
    if len(scored):
        notes.append(f"Protocol: {shared_protocol(scored)}. Lower is better.")
        if has_too_few_samples(scored):
            notes.append(f"There are {TOO_FEW_SAMPLES}: the Fréchet distance is biased, the kernel distance decides.")
    return [*notes, tuning_note(runs.to_dict("records"))]
