"""Many runs -> one row a setting: means over seeds, comparisons between rows, and how the runs stand.

Nothing is compared across protocols: what differs in one of `PROTOCOL` has another row.
"""

from collections.abc import Iterator

from ..experiment.ladder import LADDER, MODELS, MODULATIONS
from ..system.errors import UserError

NAN = float("nan")

SETTING = ("model", "config", "modulation", "lr", "data")  # runs that share these differ in the seed alone

# How samples were drawn and scored. Column: what a reader is told of its value; None where another column says it.
PROTOCOL = {
    "sampler": "{} sampler",
    "steps": "{:,.0f} sampling steps",
    "guidance": "guidance {:g}",
    "count": "{:,.0f} samples",
    "ema_width": "EMA width {}",
    "step": "snapshot of step {:,.0f}",
    "features": "features of {}",
    "features_hash": None,
    "reference": "reference {}",
    "reference_count": "{:,.0f} real images",
    "reference_hash": None,
}


def summarize(runs, fid):
    """Scores over seeds: the mean of each seed's mean over sampling seeds, and the standard deviation over seeds.

    Columns: SETTING, PROTOCOL, n (seeds with a score), sampling_seeds (the fewest of a seed), fid_mean, fid_sd,
    kid_mean, kid_sd (Bessel's correction; missing for one seed), fid_rank_deficient, fid_floor, kid_floor, floor_count,
    parameters, training_steps, status, paper_setting. A setting without any score has one row, with n = 0.
    Ordered by model, modulation and letter as the grid lists them, then rate. UserError when two runs share setting
    and seed, which would count one seed twice.
    """
    import pandas as pd

    refuse_twins(runs)
    fid = fid.assign(ema_width=fid["ema_width"].astype(object).fillna("none"))
    rows = []
    for setting, members in runs.groupby(list(SETTING), sort=False):
        scores = fid[fid["run"].isin(members["run"])]
        common = {
            **dict(zip(SETTING, setting, strict=True)),
            "parameters": members["parameters"].max(),
            "training_steps": members["steps"].max(),
            "status": _status(members),
            "paper_setting": bool(members["paper_setting"].all()),
        }
        for protocol, scored in scores.groupby(list(PROTOCOL), sort=False, dropna=False):
            seeds = scored.groupby("run")[["fid", "kid"]].mean()
            samplings = scored.groupby("run")["sampling_seed"].nunique()
            rows.append({
                **common,
                **dict(zip(PROTOCOL, protocol, strict=True)),
                "n": len(seeds),
                "sampling_seeds": samplings.min(),
                **{f"{metric}_mean": seeds[metric].mean() for metric in seeds},
                **{f"{metric}_sd": seeds[metric].std(ddof=1) for metric in seeds},
                **scored.iloc[0][["fid_rank_deficient", "fid_floor", "kid_floor", "floor_count"]],
            })  # fmt: skip
        if scores.empty:
            rows.append({**common, "n": 0})
    columns = [
        *SETTING, *PROTOCOL, "n", "sampling_seeds", "fid_mean", "fid_sd", "kid_mean", "kid_sd", "fid_rank_deficient",
        "fid_floor", "kid_floor", "floor_count", "parameters", "training_steps", "status", "paper_setting",
    ]  # fmt: skip
    return in_order(pd.DataFrame(rows, columns=columns))


def in_order(frame):
    """By model, modulation and letter as the grid lists them, then by rate."""
    ranks = {"model": MODELS, "modulation": MODULATIONS, "config": tuple(LADDER)}

    def position(column):
        known = {name: place for place, name in enumerate(ranks.get(column.name, ()))}
        return column.map(lambda name: known.get(name, len(known))) if known else column

    return frame.sort_values(["model", "modulation", "config", "lr"], key=position, kind="stable", ignore_index=True)


def refuse_twins(runs) -> None:
    keys = [*SETTING, "seed"]
    for key, twins in runs.groupby(keys):
        if len(twins) > 1:
            place = ", ".join(f"{name} {value}" for name, value in zip(keys, key, strict=True))
            raise UserError(f"runs {' and '.join(twins['run'])}: both have {place}: must be one run a setting and seed")


def _status(members) -> str:
    """`trained`; `diverged at step 300`; of several seeds that stand differently, `4 trained, 1 diverged`."""
    counts = members["status"].value_counts(sort=False)
    if len(counts) > 1:
        return ", ".join(f"{count} {status}" for status, count in counts.items())
    if len(members) == 1 and members["status"].iloc[0] == "diverged":
        return f"diverged at step {members['step'].iloc[0]:,.0f}"
    return counts.index[0]


def change_from(summary, column: str, base: str, of: str = "fid_mean") -> list[float]:
    """`of` in each row against the row whose `column` is `base`, all else but the rate being equal, in percent.

    Missing for the base itself, and where there is not exactly one such number: none is chosen among several.
    """
    counted = of == "parameters"  # whatever the protocol and the rate
    keys = [key for key in (SETTING if counted else (*SETTING, *PROTOCOL)) if key not in (column, "lr")]
    bases = summary[(summary[column] == base) & summary[of].notna()]
    bases = (bases.drop_duplicates([*keys, of]) if counted else bases).groupby(keys, dropna=False)[of]
    bases = {_hashable(key): values.iloc[0] for key, values in bases if len(values) == 1}
    rows = zip(summary[column], summary[of], summary[keys].itertuples(index=False, name=None), strict=True)
    return [NAN if own == base else 100 * (value / bases.get(_hashable(key), NAN) - 1) for own, value, key in rows]


def _hashable(key: tuple) -> tuple:
    """A key in which missing values are equal: of rows without any score."""
    return tuple(None if value != value else value for value in key)


def best(summary, within: tuple[str, ...] = ()) -> list[bool]:
    """Whether a row's mean FID is the lowest of those it compares with: of its model, data, protocol and `within`.

    No row is, where one has a single seed, or where the lowest is the mean of what is left of its seeds.
    """
    keys = ["model", "data", *within, *PROTOCOL]
    marks = [False] * len(summary)
    for _, rows in summary[summary["n"] > 0].groupby(keys, dropna=False):
        lowest = rows["fid_mean"].idxmin()
        if len(rows) > 1 and rows["n"].min() > 1 and rows["status"][lowest] == "trained":
            marks[lowest] = True
    return marks


def relative_time(summary, cost) -> list[float]:
    """Step time of each row over A's with scale_shift, from cost.csv (or None); missing where not measured.

    Where a letter was measured in both forms it is the cheap one, in which runs are trained.
    """
    keys = ["model", "config", "modulation"]
    measured = {}
    if cost is not None:
        forms = cost.sort_values("form", ascending=False)  # textbook before cheap, so that cheap stays
        measured = dict(zip(forms[keys].itertuples(index=False, name=None), forms["relative"], strict=True))
    return [measured.get(key, NAN) for key in summary[keys].itertuples(index=False, name=None)]


def constants(summary) -> Iterator[str]:
    """What all scored rows have in common, in words, in PROTOCOL's order."""
    for key, words in PROTOCOL.items():
        values = summary[key].dropna().unique()
        if words and len(values) == 1:
            yield "plain weights" if (key, values[0]) == ("ema_width", "none") else words.format(values[0])


def varying(summary) -> list[str]:
    """The columns of data and PROTOCOL in which scored rows differ: what a table must show to tell its rows apart."""
    return [key for key in ("data", *PROTOCOL) if summary[key].nunique() > 1]
