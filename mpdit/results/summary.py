"""Many runs -> one row per setting and protocol: means over seeds, comparisons between rows, the status of the runs.

Nothing is compared across protocols: rows that differ in one of the columns of `PROTOCOL` stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from ..experiment.parts import modulations
from ..system.errors import UserError
from .heldout_losses import PART, Losses, losses_of
from .sampling_seeds import BySeed
from .shown_study import shown_study

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

    fid: BySeed  # by sampling seed
    kid: BySeed
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
    reporting part, at the protocol's EMA width and step, over all seeds that have one), fid_rank_deficient, fid_floor,
    kid_floor, floor_count, parameters, training_steps, statuses (StatusCounts), seed_values (SeedValues),
    paper_setting, tuned (whether the learning rate is the outcome of a search for just this setting). Where a seed
    diverged the means are missing: those of the seeds that are left would flatter the setting. A setting without any
    score has one row, with n = 0. Rows are sorted as in `in_order`. Raises UserError when two runs share setting and
    seed, which would count one seed twice.
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
            "tuned": bool((members["tuning"] == "tuned").all()),
        }
        for protocol, scored in scores.groupby(list(PROTOCOL), sort=False, dropna=False):
            seeds = scored.groupby("seed")[["fid", "kid"]].mean()
            drawn: dict[str, Any] = dict(zip(PROTOCOL, protocol, strict=True))
            losses = losses_of(members, drawn["step"], drawn["ema_width"], heldout, heldout_images)
            means = seeds.astype(float) * (NAN if diverged else 1.0)
            sampling_seeds = scored.groupby("run")["sampling_seed"].nunique()
            rows.append({
                **common,
                **drawn,
                "n": len(seeds),
                "sampling_seeds": sampling_seeds.min(),
                **{f"{metric}_mean": means[metric].mean() for metric in means},
                **{f"{metric}_sd": means[metric].std(ddof=1) for metric in means},
                **_mean_loss(losses, diverged),
                "seed_values": SeedValues(_by_seed(scored, "fid"), _by_seed(scored, "kid"), losses, diverged),
                **scored.iloc[0][["fid_rank_deficient", "fid_floor", "kid_floor", "floor_count"]],
            })  # fmt: skip
        if scores.empty:
            weights = _measured_weights(members, fid, heldout)
            losses = losses_of(members, *weights, heldout, heldout_images) if weights else Losses()
            drawn = dict(zip(("step", "ema_width"), weights or (NAN, NAN), strict=True))
            values = SeedValues({}, {}, losses, diverged)
            rows.append({**common, **drawn, "n": 0, "seed_values": values, **_mean_loss(losses, diverged)})
    columns = [
        *SETTING, *PROTOCOL, "n", "sampling_seeds", "fid_mean", "fid_sd", "kid_mean", "kid_sd",
        "heldout_loss_mean", "heldout_loss_sd", "fid_rank_deficient", "fid_floor", "kid_floor", "floor_count",
        "parameters", "training_steps", "statuses", "seed_values", "paper_setting", "tuned",
    ]  # fmt: skip
    return in_order(pd.DataFrame(rows, columns=columns))


def _by_seed(scored: pd.DataFrame, metric: str) -> dict[int, dict[int, float]]:
    """Scores by training seed and sampling seed."""
    known = scored.dropna(subset=metric)
    values: dict[int, dict[int, float]] = {}
    for seed, sampling_seed, value in zip(known["seed"], known["sampling_seed"], known[metric], strict=True):
        values.setdefault(int(seed), {})[int(sampling_seed)] = float(value)
    return values


def _mean_loss(losses: Losses, diverged: Sequence[int]) -> dict[str, float]:
    """Mean and standard deviation over seeds of the held-out loss; missing where a seed diverged."""
    values = [] if diverged else list(losses.by_seed.values())
    spread = stdev(values) if len(values) > 1 else NAN
    return {"heldout_loss_mean": fmean(values) if values else NAN, "heldout_loss_sd": spread}


def _measured_weights(
    members: pd.DataFrame, fid: pd.DataFrame, heldout: pd.DataFrame | None
) -> tuple[float, float] | None:
    """Step and EMA width of the held-out losses of runs without a score; None where there are none.

    They are the last step, and the only width of all scores or else the first that the runs have tracked.
    """
    if heldout is None:
        return None
    last = float(members["steps"].max())
    rows = heldout[heldout["run"].isin(members["run"]) & (heldout["step"] == last) & (heldout["part"] == PART)]
    if rows.empty:
        return None
    scored = fid["ema_width"].unique()
    is_measured = len(scored) == 1 and scored[0] in set(rows["ema_width"])
    return last, float(scored[0] if is_measured else rows["ema_width"].iloc[0])


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by model, modulation and config, each in the order of the grid's own list, then by learning rate."""
    ladder = shown_study().ladder
    ranks = {"model": ladder.models, "modulation": modulations(), "config": tuple(ladder.configs)}

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


def parameters_change(rows: pd.DataFrame, column: str, base: str | float) -> list[float]:
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
