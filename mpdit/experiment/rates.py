"""Learning rates that tuning has chosen: rates.csv -> the rate and EMA width of each setting, and how it was tuned."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..system.errors import UserError, in_one_line
from ..system.seals import CHANGED, damaged, inspect
from .columns import RATES
from .remedies import remedy
from .run_spec import RunSpec
from .tuning import Tuned

# How a run's learning rate was chosen.
TUNED = "tuned"  # by a search for just this setting and horizon that ended inside its range
EDGE = "edge"  # by such a search, which ended at an edge
HORIZON = "horizon"  # by a search of another number of steps
OTHER = "other"  # by a search on other data or with another recipe, or against what the search has chosen
GIVEN = "given"  # by a number in the configuration


class Setting(NamedTuple):
    """What a learning rate is tuned for, but its horizon."""

    model: str
    config: str
    modulation: str
    identity: str  # RunSpec.tuning_identity


def read_rates(path: str | Path) -> dict[Setting, Tuned]:
    """The chosen rates of a rates.csv. Raises UserError, one line that names the file, for anything that is wrong."""
    rows = _read_rows(path)
    chosen: dict[Setting, Tuned] = {}
    for line, row in enumerate(rows, start=2):
        if row["chosen"] != "True":
            continue
        setting = _setting(row)
        if setting in chosen:
            raise UserError(f"{path}: line {line}: a second rate for {' '.join(setting[:3])} is chosen; expected one")
        try:
            lr, width = float(row["lr"]), float(row["ema_width"]) if row["ema_width"] else None
            steps = int(row["steps"])
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}; expected numbers for lr, ema_width and steps") from None
        tried = len({other["lr"] for other in rows if _setting(other) == setting})
        chosen[setting] = Tuned(lr, width, row["at_edge"] == "True", setting.identity, steps, tried)
    return chosen


def _read_rows(path: str | Path) -> list[dict[str, str]]:
    made_by = "expected the rates.csv of `snakemake tune`"
    try:
        if inspect(path).damage == CHANGED:
            raise damaged(path, CHANGED, f"put rates of your own into another file, or {remedy(path)}")
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(f"{in_one_line(error, path)}; {made_by}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: {error}; {made_by}") from None
    for line, row in enumerate(rows, start=2):
        missing = [name for name in RATES.names if row.get(name) is None]
        if missing:
            raise UserError(f"{path}: line {line}: no {missing[0]}; {made_by}")
    return rows


def _setting(row: Mapping[str, str]) -> Setting:
    return Setting(row["model"], row["config"], row["modulation"], row["identity"])


def setting_of(run: RunSpec) -> Setting:
    return Setting(run.model, run.config, run.modulation, run.tuning_identity)


def how_tuned(run: RunSpec, rates: Mapping[Setting, Tuned]) -> str:
    """How a run's learning rate was chosen: TUNED, EDGE, HORIZON, OTHER or GIVEN."""
    tuned = rates.get(setting_of(run))
    if tuned is None or tuned.lr != run.lr:
        return OTHER if any(setting[:3] == setting_of(run)[:3] for setting in rates) else GIVEN
    if tuned.steps != run.training.steps:
        return HORIZON
    return EDGE if tuned.at_edge else TUNED
