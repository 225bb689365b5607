"""Many runs -> one row per setting and protocol: means over seeds, comparisons between rows, the status of the runs.

Nothing is compared across protocols: rows that differ in one of the columns of `PROTOCOL` stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..experiment.ladder import LADDER, MODELS, MODULATIONS
from ..system.errors import UserError
from .heldout_losses import Losses, losses_of

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


@dataclass(frozen=True)
class SeedValues:
    """What was measured of one setting under one protocol, by training seed."""

    fid: Mapping[int, float]  # mean over sampling seeds
    kid: Mapping[int, float]
    losses: Losses  # held-out losses at the EMA width of the protocol
    diverged: tuple[int, ...]  # seeds that diverged, and so have no value


def summarize(
    runs: pd.DataFrame,
    fid: pd.DataFrame,
    heldout: pd.DataFrame | None = None,
    heldout_images: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scores over seeds: the mean of each seed's mean over sampling seeds, and the standard deviation over seeds.

    Columns: SETTING, PROTOCOL, n (seeds with a score), sampling_seeds (the smallest number of any seed), fid_mean,
    fid_sd, kid_mean, kid_sd (Bessel's correction; missing for one seed), heldout_loss_mean, heldout_loss_sd (of the
    reporting part, at the protocol's EMA width and step), fid_rank_deficient, fid_floor, kid_floor, floor_count,
    parameters, training_steps, statuses (StatusCounts), seed_values (SeedValues), paper_setting. Where a seed diverged
    the means are missing: those of the seeds that are left would flatter the setting. A setting without any score has
    one row, with n = 0. Rows are sorted as in `in_order`. Raises UserError when two runs share setting and seed, which
    would count one seed twice.
    """
    import pandas as pd

    require_one_run_per_seed(runs)
    rows = []
    for setting, members in runs.groupby(list(SETTING), sort=False):
        scores = fid[fid["run"].isin(members["run"])]
        diverged = tuple(int(seed) for seed in members.loc[members["status"] == "diverged", "seed"])
        common = {
            **dict(zip(SETTING, setting, strict=True)),
            "parameters": members["parameters"].max(),
            "training_steps": members["steps"].max(),
            "statuses": _status_counts(members),
            "paper_setting": bool(members["paper_setting"].all()),
        }
        for protocol, scored in scores.groupby(list(PROTOCOL), sort=False, dropna=False):
            seeds = scored.groupby("seed")[["fid", "kid"]].mean()
            drawn: dict[str, Any] = dict(zip(PROTOCOL, protocol, strict=True))
            losses = losses_of(members, drawn["step"], drawn["ema_width"], heldout, heldout_images)
            seeds["heldout_loss"] = seeds.index.map(losses.by_seed)
            means = seeds.astype(float) * (NAN if diverged else 1.0)
            sampling_seeds = scored.groupby("run")["sampling_seed"].nunique()
            rows.append({
                **common,
                **drawn,
                "n": len(seeds),
                "sampling_seeds": sampling_seeds.min(),
                **{f"{metric}_mean": means[metric].mean() for metric in means},
                **{f"{metric}_sd": means[metric].std(ddof=1) for metric in means},
                "seed_values": SeedValues(_by_seed(seeds["fid"]), _by_seed(seeds["kid"]), losses, diverged),
                **scored.iloc[0][["fid_rank_deficient", "fid_floor", "kid_floor", "floor_count"]],
            })  # fmt: skip
        if scores.empty:
            nothing = SeedValues({}, {}, Losses(), diverged)
            rows.append({**common, "n": 0, "seed_values": nothing})
    columns = [
        *SETTING, *PROTOCOL, "n", "sampling_seeds", "fid_mean", "fid_sd", "kid_mean", "kid_sd",
        "heldout_loss_mean", "heldout_loss_sd", "fid_rank_deficient", "fid_floor", "kid_floor", "floor_count",
        "parameters", "training_steps", "statuses", "seed_values", "paper_setting",
    ]  # fmt: skip
    return in_order(pd.DataFrame(rows, columns=columns))


def _by_seed(values: pd.Series) -> dict[int, float]:
    known = values.dropna()
    return {int(seed): float(value) for seed, value in zip(known.index, known, strict=True)}


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


def parameters_change(rows: pd.DataFrame, column: str, base: str) -> list[float]:
    """Change of the number of parameters in percent, from the rows with `base` in `column` that are otherwise equal.

    Missing (NaN) for the base itself, and where there is none. The learning rate and the protocol change no number.
    """
    keys = [key for key in SETTING if key not in (column, "lr")]
    bases = rows[(rows[column] == base) & rows["parameters"].notna()].drop_duplicates([*keys, "parameters"])
    groups = bases.groupby(keys, dropna=False)["parameters"]
    base_values = {key: values.iloc[0] for key, values in groups if len(values) == 1}
    triples = zip(rows[column], rows["parameters"], rows[keys].itertuples(index=False, name=None), strict=True)
    return [NAN if own == base else 100 * (value / base_values.get(key, NAN) - 1) for own, value, key in triples]


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
