"""Many runs -> one row per setting and protocol: means over seeds, comparisons between rows, the status of the runs.

Nothing is compared across protocols: rows that differ in one of the columns of `PROTOCOL` stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..experiment.ladder import LADDER, MODELS, MODULATIONS
from ..system.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NAN = float("nan")

SETTING = ("model", "config", "modulation", "lr", "data")  # runs that share these differ in the seed alone
# How samples were drawn and scored.
PROTOCOL = (
    "sampler", "steps", "guidance", "count", "ema_width", "step",
    "features", "features_hash", "reference", "reference_count", "reference_hash",
)  # fmt: skip


@dataclass(frozen=True)
class StatusCounts:
    """The number of runs (seeds) of a setting with each status of runs.csv."""

    counts: tuple[tuple[str, int], ...]  # (status, number of runs), statuses in the order of the runs
    diverged_at: int | None = None  # the step, where the setting has one run and that diverged

    def number(self, status: str) -> int:
        """The number of runs with this status."""
        return dict(self.counts).get(status, 0)

    @property
    def all_trained(self) -> bool:
        return [status for status, _ in self.counts] == ["trained"]


def summarize(runs: pd.DataFrame, fid: pd.DataFrame) -> pd.DataFrame:
    """Scores over seeds: the mean of each seed's mean over sampling seeds, and the standard deviation over seeds.

    Columns: SETTING, PROTOCOL, n (seeds with a score), sampling_seeds (the smallest number of any seed), fid_mean,
    fid_sd, kid_mean, kid_sd (Bessel's correction; missing for one seed), fid_rank_deficient, fid_floor, kid_floor,
    floor_count, parameters, training_steps, statuses (StatusCounts), paper_setting. A setting without any score has one
    row, with n = 0. Rows are sorted as in `in_order`. Raises UserError when two runs share setting and seed, which
    would count one seed twice.
    """
    import pandas as pd

    require_one_run_per_seed(runs)
    rows = []
    for setting, members in runs.groupby(list(SETTING), sort=False):
        scores = fid[fid["run"].isin(members["run"])]
        common = {
            **dict(zip(SETTING, setting, strict=True)),
            "parameters": members["parameters"].max(),
            "training_steps": members["steps"].max(),
            "statuses": _status_counts(members),
            "paper_setting": bool(members["paper_setting"].all()),
        }
        for protocol, scored in scores.groupby(list(PROTOCOL), sort=False, dropna=False):
            seeds = scored.groupby("run")[["fid", "kid"]].mean()
            sampling_seeds = scored.groupby("run")["sampling_seed"].nunique()
            rows.append({
                **common,
                **dict(zip(PROTOCOL, protocol, strict=True)),
                "n": len(seeds),
                "sampling_seeds": sampling_seeds.min(),
                **{f"{metric}_mean": seeds[metric].mean() for metric in seeds},
                **{f"{metric}_sd": seeds[metric].std(ddof=1) for metric in seeds},
                **scored.iloc[0][["fid_rank_deficient", "fid_floor", "kid_floor", "floor_count"]],
            })  # fmt: skip
        if scores.empty:
            rows.append({**common, "n": 0})
    columns = [
        *SETTING, *PROTOCOL, "n", "sampling_seeds", "fid_mean", "fid_sd", "kid_mean", "kid_sd", "fid_rank_deficient",
        "fid_floor", "kid_floor", "floor_count", "parameters", "training_steps", "statuses", "paper_setting",
    ]  # fmt: skip
    return in_order(pd.DataFrame(rows, columns=columns))


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by model, modulation and config, each in the order of the grid's own list, then by learning rate."""
    ranks = {"model": MODELS, "modulation": MODULATIONS, "config": tuple(LADDER)}

    def rank(column: pd.Series) -> pd.Series:
        known = {name: rank for rank, name in enumerate(ranks.get(str(column.name), ()))}
        return column.map(lambda name: known.get(name, len(known))) if known else column

    return frame.sort_values(["model", "modulation", "config", "lr"], key=rank, kind="stable", ignore_index=True)


def require_one_run_per_seed(runs: pd.DataFrame) -> None:
    """Raise UserError when two runs share setting and seed."""
    keys = [*SETTING, "seed"]
    for key, members in runs.groupby(keys):
        if len(members) > 1:
            shared = ", ".join(f"{name} {value}" for name, value in zip(keys, key, strict=True))
            raise UserError(
                f"runs {' and '.join(members['run'])}: both have {shared}: must be one run per setting and seed"
            )


def _status_counts(members: pd.DataFrame) -> StatusCounts:
    counts = tuple((str(status), int(count)) for status, count in members["status"].value_counts(sort=False).items())
    alone = len(members) == 1 and members["status"].iloc[0] == "diverged"
    return StatusCounts(counts, int(members["step"].iloc[0]) if alone else None)


def change_from(rows: pd.DataFrame, column: str, base: str, quantity: str = "fid_mean") -> list[float]:
    """Change of `quantity` in each row, in percent, from the row that has `base` in `column` and is otherwise equal.

    The learning rate may differ. Missing (NaN) for the base itself, and where the base has no value or several
    different ones: none is picked.
    """
    is_of_model = quantity == "parameters"  # it depends neither on the protocol nor on the learning rate
    keys = [key for key in (SETTING if is_of_model else (*SETTING, *PROTOCOL)) if key not in (column, "lr")]
    bases = rows[(rows[column] == base) & rows[quantity].notna()]
    bases = bases.drop_duplicates([*keys, quantity]) if is_of_model else bases
    groups = bases.groupby(keys, dropna=False)[quantity]
    base_values = {_hashable(key): values.iloc[0] for key, values in groups if len(values) == 1}
    triples = zip(rows[column], rows[quantity], rows[keys].itertuples(index=False, name=None), strict=True)
    return [
        NAN if own == base else 100 * (value / base_values.get(_hashable(key), NAN) - 1) for own, value, key in triples
    ]


def _hashable(key: Sequence[object]) -> tuple[object, ...]:
    """The key with None for missing values, so that two of them are equal: rows without any score have such keys."""
    return tuple(None if value != value else value for value in key)


def best(rows: pd.DataFrame, within: tuple[str, ...] = ()) -> list[bool]:
    """Whether a row's mean FID is the lowest among the rows with the same model, data, protocol and `within`.

    Never true where one of these rows has a single seed, nor where not all seeds of the lowest row were trained to the
    end: its mean is then one of the seeds that are left.
    """
    keys = ["model", "data", *within, *PROTOCOL]
    marked = set()
    for _, group in rows[rows["n"] > 0].groupby(keys, dropna=False):
        lowest = int(group["fid_mean"].argmin())
        if len(group) > 1 and group["n"].min() > 1 and group["statuses"].iloc[lowest].all_trained:
            marked.add(group.index[lowest])
    return [index in marked for index in rows.index]


def relative_time(rows: pd.DataFrame, cost: pd.DataFrame | None) -> list[float]:
    """Step time of each row over that of Config A with scale_shift, from cost.csv; NaN where it was not measured.

    Where a configuration was measured in both forms, this is the cheap one, in which runs are trained.
    """
    keys = ["model", "config", "modulation"]
    measured = {}
    if cost is not None:
        forms = cost.sort_values("form", ascending=False)  # textbook before cheap, so that cheap stays
        measured = dict(zip(forms[keys].itertuples(index=False, name=None), forms["relative"], strict=True))
    return [measured.get(key, NAN) for key in rows[keys].itertuples(index=False, name=None)]


def varying(rows: pd.DataFrame) -> list[str]:
    """The columns among data and PROTOCOL that tell scored rows apart, and that a table must show for it."""
    scored = rows[rows["n"] > 0]
    counts = {key: rows[key].nunique() for key in ("data", *PROTOCOL)}
    counts["ema_width"] = scored["ema_width"].nunique(dropna=False)  # a missing width is that of the plain weights
    return [key for key, count in counts.items() if count > 1]
