"""What figures share: the panels and lines of a study, means over seeds, and a note on the runs that are not shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..results import summary
from . import style
from .names import modulation_name
from .number_format import rate

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """The runs (seeds) that one line of a panel is the mean of."""

    label: str
    config: str  # or the modulation, in panels of modulations: what gives the line its look
    runs: pd.DataFrame  # rows of runs.csv


@dataclass(frozen=True)
class Panel:
    """The lines of one model and modulation."""

    title: str
    lines: list[Line]

    @property
    def runs(self) -> set[str]:
        """Names of the runs of all lines."""
        return {run for line in self.lines for run in line.runs["run"]}


@dataclass(frozen=True)
class Setting:
    """Runs that differ in the seed alone."""

    title: str  # names what tells the setting from the others
    runs: pd.DataFrame


def panels_by_rate(runs: pd.DataFrame) -> list[Panel]:
    """One panel per model and modulation, with one line per configuration and learning rate.

    A line is labeled with its rate where its configuration has several.
    """
    panels = []
    for (model, modulation), rows in groups(summary.in_order(runs), "model", "modulation"):
        lines = []
        for (config, lr), members in groups(rows, "config", "lr"):
            one_rate = rows.loc[rows["config"] == config, "lr"].nunique() == 1
            lines.append(Line(config if one_rate else f"{config} {rate(lr)}", config, members))
        panels.append(Panel(_panel_title(model, modulation), lines))
    return panels


Split = Callable[["pd.DataFrame"], list[Panel]]  # runs -> the panels that show them


def panels_of_block(runs: pd.DataFrame) -> list[Panel]:
    """As `panels_by_rate`, but where modulations vary and configurations do not, one panel per model, with one line per
    modulation and learning rate."""
    if runs["config"].nunique() > 1 or runs["modulation"].nunique() == 1:
        return panels_by_rate(runs)
    panels = []
    for (model,), rows in groups(summary.in_order(runs), "model"):
        lines = []
        for (modulation, lr), members in groups(rows, "modulation", "lr"):
            one_rate = rows.loc[rows["modulation"] == modulation, "lr"].nunique() == 1
            name = modulation_name(modulation)
            lines.append(Line(name if one_rate else f"{name} {rate(lr)}", modulation, members))
        panels.append(Panel(model, lines))
    return panels


def panels_by_config(runs: pd.DataFrame) -> list[Panel]:
    """One panel per model and modulation, with one line per configuration, which holds its runs at every rate."""
    return [
        Panel(
            _panel_title(model, modulation),
            [Line(config, config, members) for (config,), members in groups(rows, "config")],
        )
        for (model, modulation), rows in groups(summary.in_order(runs), "model", "modulation")
    ]


def _panel_title(model: str, modulation: str) -> str:
    return f"{model}, {modulation_name(modulation)}"


def settings(runs: pd.DataFrame) -> list[Setting]:
    """Each combination of model, configuration, modulation and learning rate."""
    runs = summary.in_order(runs)
    words: dict[str, Callable[[Any], str]] = {
        "model": str, "config": "Config {}".format, "modulation": modulation_name, "lr": rate,
    }  # fmt: skip
    named = [key for key in words if key in ("model", "config") or runs[key].nunique() > 1]
    return [
        Setting(", ".join(words[key](members[key].iloc[0]) for key in named), members)
        for _, members in groups(runs, *words)
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Rows of the aggregates


def groups(rows: pd.DataFrame, *keys: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The values of `keys` and the rows that have them, in the order in which they appear."""
    return iter(rows.groupby(list(keys), sort=False))


def rows_of(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows that belong to one of these runs."""
    return rows[rows["run"].isin(runs["run"])]


def rows_of_complete_runs(rows: pd.DataFrame, runs: pd.DataFrame, *x: str) -> pd.DataFrame:
    """The rows of those runs that have as many values of the columns `x` as any run of their setting.

    A mean over seeds is then over the same seeds all along the line, so that no step in it is a change of seeds.
    """
    counts = rows[["run", *x]].drop_duplicates().groupby("run", observed=True).size()
    members = runs[runs["run"].isin(counts.index)]
    counts = members["run"].map(counts)
    most = counts.groupby([members[key] for key in summary.SETTING]).transform("max")
    return rows[rows["run"].isin(members.loc[counts == most, "run"])]


SURVIVED = "trained beside seeds that diverged"


def with_survivors(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, with the status SURVIVED for those trained in a setting of which another seed diverged.

    A mean over these would flatter the setting, so no line of scores or losses holds it.
    """
    diverged = (runs["status"] == "diverged").groupby([runs[key] for key in summary.SETTING]).transform("any")
    return runs.assign(status=runs["status"].mask(diverged & (runs["status"] == "trained"), SURVIVED))


def rows_after_training(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last traced step; none for runs that were traced at initialization only."""
    return rows[(rows["step"] > 0) & (rows["step"] == rows.groupby("run", observed=True)["step"].transform("max"))]


def mean_magnitudes(rows: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """One row per run and `keys`: the mean over rows that differ in anything else, such as the noise level."""
    categories = {"run": "category"} | ({"site": "category"} if "site" in keys else {})  # which makes grouping fast
    return rows.astype(categories).groupby(["run", *keys], observed=True)["magnitude"].mean().reset_index()


def mean_over_seeds(rows: pd.DataFrame, x: str, value: str = "magnitude", spread: str = "run") -> pd.DataFrame:
    """Means at each `x`: a frame with columns mean, low and high. Each run counts once, as the mean of its rows there.

    low and high are the lowest and the highest mean by `spread`: over runs (seeds), or over something that all runs
    have, such as the block or the noise level. They are missing (NaN) where there is only one.
    """
    import numpy as np
    import pandas as pd

    if rows.empty:
        return pd.DataFrame(columns=["mean", "low", "high"], dtype=float)
    # In numpy, because a study has hundreds of lines. Cells are indexed by (x, run, spread), and NaN without rows.
    codes, names = zip(*(pd.factorize(rows[key], sort=True) for key in (x, "run", spread)), strict=True)
    if spread == "run":
        codes, names = (*codes[:2], np.zeros_like(codes[0])), (*names[:2], [None])
    shape = tuple(map(len, names))
    cell = np.ravel_multi_index(codes, shape)
    sums, counts = (
        np.bincount(cell, weights, minlength=np.prod(shape)).reshape(shape) for weights in (rows[value], None)
    )
    with np.errstate(invalid="ignore"):
        cells = sums / counts
    mean = _mean(_mean(cells, 2), 1)
    edges = _mean(cells, 2 if spread == "run" else 1)  # (x, runs or spread)
    several = (~np.isnan(edges)).sum(axis=1) > 1
    low, high = np.fmin.reduce(edges, axis=1), np.fmax.reduce(edges, axis=1)
    band = {name: np.where(several, edge, np.nan) for name, edge in (("low", low), ("high", high))}
    return pd.DataFrame({"mean": mean, **band}, index=names[0])


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean over an axis of what is not NaN; NaN where everything is."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        means: np.ndarray = np.nansum(values, axis) / (~np.isnan(values)).sum(axis)
    return means


def draw_mean(axes: Axes, label: str, look: str | Mapping[str, Any], points: pd.DataFrame) -> list[style.LineEnd]:
    """Draw the frame of `mean_over_seeds`. Returns the end of the line for `style.label_ends`, in a list that is empty
    where there are no points."""
    if points.empty:
        return []
    band = (points["low"], points["high"]) if points["low"].notna().any() else ()
    return [style.line(axes, label, look, points.index, points["mean"], *band)]


def last_step(runs: pd.DataFrame, rows: pd.DataFrame) -> int:
    """The last step that an axis of training steps must reach."""
    return int(max([*runs["steps"], *rows["step"]], default=0))


# ---------------------------------------------------------------------------------------------------------------------
# Notes

MOST_NAMED = 12  # settings that a note names one by one
STATUS_WORDS = {"trained": "trained, not fully evaluated"}  # of runs that are not shown


def not_shown_note(runs: pd.DataFrame, shown: Iterable[str]) -> str:
    """A sentence on the runs that are not among those `shown`; empty where all are."""
    absent = summary.in_order(runs[~runs["run"].isin(set(shown))])
    keys = [key for key in ("model", "config", "modulation") if key == "config" or runs[key].nunique() > 1]
    if len(absent.groupby([*keys, "status"])) > MOST_NAMED:
        keys = ["config"]
    words = [
        f"{', '.join(map(modulation_name, key))} ({len(members)} {STATUS_WORDS.get(status, status)})"
        for (*key, status), members in groups(absent, *keys, "status")
    ]
    return f"Not shown: {'; '.join(words) if len(keys) > 1 else ', '.join(words)}." if words else ""


def spread_note(runs: pd.DataFrame) -> str:
    """The sentence that says what the lines and bands of `mean_over_seeds` are."""
    if runs.groupby(list(summary.SETTING))["seed"].nunique().max() > 1:
        return "Lines: means over seeds; shaded: from the lowest to the highest seed."
    return "One seed: the spread between seeds is unknown."
