"""Held-out losses of tuning runs -> which learning rates to try next, and the rates.csv of what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..experiment import run_files
from ..experiment.columns import HELDOUT, RATES
from ..experiment.records import TrainedRun
from ..experiment.remedies import remedy
from ..experiment.run_spec import RunSpec
from ..experiment.tuning import best_rung, is_at_an_edge, next_rungs, rate
from ..experiment.tuning_setting import TuningSetting
from ..system.errors import UserError
from ..system.files import read_json
from .tables import read_table

if TYPE_CHECKING:
    import pandas as pd

PART = "tune"  # the half of the held-out pictures that chooses


@dataclass(frozen=True)
class Trial:
    """One learning rate of a search: the held-out loss at each EMA width, mean over tuning seeds."""

    rung: int
    lr: float
    losses: dict[float, float]  # by EMA width; infinite where a seed diverged
    seeds: int
    diverged: int

    @property
    def best_width(self) -> float:
        return min(self.losses, key=lambda width: (self.losses[width], width))

    @property
    def loss(self) -> float:
        """The loss at the best EMA width."""
        return self.losses[self.best_width]


def read_trial(setting: TuningSetting, rung: int, runs: str | Path) -> Trial:
    """The trial of a rung from the folders of its runs. Raises UserError, one line that names the file."""
    results = [_losses(run, setting.tuning.ema_widths, Path(runs) / run.name) for run in setting.runs_of(rung)]
    losses = {width: math.fsum(by_width[width] for by_width in results) / len(results) for width in results[0]}
    diverged = sum(math.isinf(min(by_width.values())) for by_width in results)
    return Trial(rung, rate(setting.start, rung), losses, len(results), diverged)


def _losses(run: RunSpec, widths: Sequence[float], folder: Path) -> dict[float, float]:
    """The held-out loss of one run at its last step, by EMA width; infinite where the run diverged."""
    if TrainedRun.read(folder / run_files.TRAINED).status == "diverged":
        return dict.fromkeys(widths, math.inf)
    path = folder / run_files.HELDOUT
    table = read_table(path, HELDOUT)
    rows = table[(table["part"] == PART) & (table["step"] == run.training.steps)]
    losses = {}
    for width in widths:
        values = rows.loc[rows["ema_width"] == width, "loss"]
        if len(values) != 1:
            raise UserError(
                f"{path}: no loss of the tuning part at EMA width {width:g}, step {run.training.steps}; delete the "
                f"file and run `snakemake tune` again"
            )
        losses[width] = float(values.iloc[0])
    return losses


def read_rungs(rounds: Iterable[str | Path]) -> list[int]:
    """The rungs that earlier rounds have asked for, in order."""
    rungs: list[int] = []
    for path in rounds:
        record = read_json(path, remedy(path))
        if not isinstance(record, dict) or not all(isinstance(rung, int) for rung in record.get("rungs", [None])):
            raise UserError(f"{path}: no list of rungs; expected a file that `mpdit tune` wrote")
        rungs += record["rungs"]
    return rungs


def next_round(setting: TuningSetting, tried: Iterable[int], runs: str | Path) -> tuple[int, ...]:
    """The rungs to try after those whose runs are finished."""
    losses = {rung: read_trial(setting, rung, runs).loss for rung in tried}
    return next_rungs(losses, setting.tuning.rates)


def rates_table(searches: Iterable[tuple[TuningSetting, Sequence[int]]], runs: str | Path) -> pd.DataFrame:
    """What every search has tried and chosen: one row per setting, learning rate and EMA width (schema RATES)."""
    import pandas as pd

    rows = [row for setting, rungs in searches for row in _rows(setting, rungs, runs)]
    return pd.DataFrame(rows, columns=list(RATES.names))


def _rows(setting: TuningSetting, rungs: Sequence[int], runs: str | Path) -> list[dict[str, Any]]:
    trials = [read_trial(setting, rung, runs) for rung in sorted(rungs)]
    losses = {trial.rung: trial.loss for trial in trials}
    best, template = best_rung(losses), setting.template
    return [
        {
            "model": template.model,
            "config": template.config,
            "modulation": template.modulation,
            "lr": trial.lr,
            "data": template.data.name,
            "identity": template.tuning_identity,
            "steps": template.training.steps,
            "ema_width": width,
            "loss": "" if math.isinf(loss) else f"{loss:.8g}",
            "seeds": trial.seeds,
            "diverged": trial.diverged,
            "chosen": trial.rung == best and width == trial.best_width and math.isfinite(loss),
            "at_edge": is_at_an_edge(losses),
        }
        for trial in trials
        for width, loss in trial.losses.items()
    ]
