"""What figures share: which panels and lines a study has, means over seeds, and a sentence on what is not drawn."""

from ..results import summary
from . import score_table as results
from . import style as plots
from . import table_format as tables


def model_panels(runs) -> list[tuple[str, list]]:
    """A panel a model and modulation: its title, and for each line in it the label, the letter and its runs (seeds)."""
    panels = []
    for (model, modulation), rows in summary.in_order(runs).groupby(["model", "modulation"], sort=False):
        lines = []
        for (letter, lr), members in rows.groupby(["config", "lr"], sort=False):
            one_rate = rows.loc[rows["config"] == letter, "lr"].nunique() == 1
            lines.append((letter if one_rate else f"{letter} {tables.rate(lr)}", letter, members))
        panels.append((f"{model}, {results.modulation_name(modulation)}", lines))
    return panels


def letter_panels(runs) -> list[tuple[str, list]]:
    """As `model_panels`, a line holding a letter's runs at every rate."""
    return [
        (f"{model}, {results.modulation_name(modulation)}", [(letter, letter, members) for letter, members in groups])
        for (model, modulation), rows in summary.in_order(runs).groupby(["model", "modulation"], sort=False)
        if (groups := list(rows.groupby("config", sort=False)))
    ]


def settings(runs) -> list[tuple[str, object]]:
    """Each model, letter, modulation and rate: a title that names what tells them apart, and its runs (seeds)."""
    runs = summary.in_order(runs)
    words = {"model": str, "config": str, "modulation": results.modulation_name, "lr": tables.rate}
    told = [key for key in words if key in ("model", "config") or runs[key].nunique() > 1]
    groups = runs.groupby(list(words), sort=False)
    return [(", ".join(words[key](rows[key].iloc[0]) for key in told), rows) for _, rows in groups]


def whole(rows, runs, *x: str):
    """The rows of the runs that have as many values of `x` as any run of their setting has.

    A mean over seeds is then one over the same seeds all along: no step of a line is a change of runs.
    """
    counts = rows[["run", *x]].drop_duplicates().groupby("run", observed=True).size()
    members = runs[runs["run"].isin(counts.index)]
    counts = members["run"].map(counts)
    most = counts.groupby([members[key] for key in summary.SETTING]).transform("max")
    return rows[rows["run"].isin(members.loc[counts == most, "run"])]


def over_seeds(rows, x: str, value: str = "magnitude", spread: str = "run"):
    """Means at each `x`: a frame with columns mean, low and high. Each run counts once, as the mean of its rows there.

    low and high are those of the lowest and the highest mean by `spread`: of a run (seed), or of what runs have in
    common, such as the block or the noise level. They are missing where there is but one.
    """
    import numpy as np
    import pandas as pd

    if rows.empty:
        return pd.DataFrame(columns=["mean", "low", "high"], dtype=float)
    # numpy, since a study has hundreds of lines: cells (X, runs, spread), NaN where there are no rows
    codes, names = zip(*(pd.factorize(rows[key], sort=True) for key in (x, "run", spread)), strict=True)
    if spread == "run":
        codes, names = (*codes[:2], np.zeros_like(codes[0])), (*names[:2], [None])
    shape = tuple(map(len, names))
    place = np.ravel_multi_index(codes, shape)
    sums, counts = (
        np.bincount(place, weights, minlength=np.prod(shape)).reshape(shape) for weights in (rows[value], None)
    )
    with np.errstate(invalid="ignore"):
        cells = sums / counts
    mean = _mean(_mean(cells, 2), 1)
    edges = _mean(cells, 2 if spread == "run" else 1)  # (X, runs or spread)
    several = (~np.isnan(edges)).sum(axis=1) > 1
    low, high = np.fmin.reduce(edges, axis=1), np.fmax.reduce(edges, axis=1)
    band = {name: np.where(several, edge, np.nan) for name, edge in (("low", low), ("high", high))}
    return pd.DataFrame({"mean": mean, **band}, index=names[0])


def _mean(values, axis: int):
    """The mean over an axis of what is not NaN; NaN where nothing is."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis) / (~np.isnan(values)).sum(axis)


def draw(axes, label: str, look, points) -> list:
    """Draw what `over_seeds` gave; the end of the line in a list for `plots.label_ends`, empty where there is none."""
    if points.empty:
        return []
    band = (points["low"], points["high"]) if points["low"].notna().any() else ()
    return [plots.line(axes, label, look, points.index, points["mean"], *band)]


def averaged(rows, *keys: str):
    """A row a run and `keys`: the mean of the magnitudes that differ in anything else, such as the noise level."""
    rows = rows.astype({"run": "category"} | ({"site": "category"} if "site" in keys else {}))  # groups quickly
    return rows.groupby(["run", *keys], observed=True)["magnitude"].mean().reset_index()


def of(rows, members):
    """The rows of these runs."""
    return rows[rows["run"].isin(members["run"])]


def last(rows):
    """The rows of each run's last traced step; none of a run that was traced at its initialisation alone."""
    return rows[(rows["step"] > 0) & (rows["step"] == rows.groupby("run", observed=True)["step"].transform("max"))]


def left_out(runs, drawn) -> str:
    """A sentence on the runs that have nothing to draw; empty when all have."""
    absent = summary.in_order(runs[~runs["run"].isin(set(drawn))])
    keys = [key for key in ("model", "config", "modulation") if key == "config" or runs[key].nunique() > 1]
    if len(absent.groupby([*keys, "status"])) > MOST_NAMED:
        keys = ["config"]
    counts = absent.groupby([*keys, "status"], sort=False).size()
    words = []
    for (*key, status), count in counts.items():
        named = [results.modulation_name(word) for word in key]
        words.append(f"{', '.join(named)} ({count} {STANDING.get(status, status)})")
    return f"Not drawn: {'; '.join(words) if len(keys) > 1 else ', '.join(words)}." if words else ""


MOST_NAMED = 12  # settings that a footnote names one by one
STANDING = {"trained": "trained, not wholly evaluated"}


def seeds_told(runs) -> str:
    """What lines and bands of `over_seeds` are."""
    if runs.groupby(list(summary.SETTING))["seed"].nunique().max() > 1:
        return "Lines: means over seeds; shaded: from the lowest to the highest seed."
    return "One seed: how far seeds move these lines is unknown."
