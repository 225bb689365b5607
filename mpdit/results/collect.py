"""Run folders -> aggregated tables in long form: all that tables and figures read.

A run that has not ended, or not begun, is no error: it is in `runs.csv` with its status.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..experiment import run_files
from ..experiment.columns import AGGREGATES, ANGLES, FID, HELDOUT_AGGREGATES, MAGNITUDES, RUNS, SCHEMAS, TRAINING
from ..experiment.records import PlannedRun, TrainedRun
from ..experiment.remedies import remedy
from ..system.errors import UserError
from ..system.files import read_json
from ..system.seals import read_intact
from .tables import Tables, check, empty_text_table, read_run_rows, read_text

if TYPE_CHECKING:
    import pandas as pd

# The status of a run in runs.csv; running: begun and not ended, whether or not a process is training it now.
STATUSES = ("trained", "running", "diverged", "missing")


def read_plan(path: str | Path) -> list[PlannedRun]:
    """The runs of a plan.json. Raises UserError, one line that names the file, for one that is not right."""
    plan = read_json(path, remedy(path))
    entries = plan.get("runs") if isinstance(plan, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: no list of runs: must be a plan.json that the workflow wrote")
    planned = [PlannedRun.from_json(entry, f"{path}: run {entry.get('run')}") for entry in entries]
    names = [run.run for run in planned]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise UserError(f"{path}: run {repeated[0]} is listed twice: must be listed once")
    return planned


def collect(planned: Sequence[PlannedRun], runs: str | Path, names: Sequence[str] = AGGREGATES) -> Tables:
    """The aggregated tables of planned runs, by name, with rows in the order of the plan.

    `runs` is the folder of run folders; `names` are AGGREGATES, and HELDOUT_AGGREGATES where they are wanted. Values
    are the text of the files, to the last digit. Raises UserError, one line that names the file, for a file that cannot
    be trusted.
    """
    import pandas as pd

    parts: dict[str, list[pd.DataFrame]] = {name: [empty_text_table(SCHEMAS[name])] for name in names}
    for run in planned:
        folder = Path(runs) / run.run
        training = _training_rows(folder)
        row = _run_row(run, folder, training)
        parts["runs"].append(pd.DataFrame([row], columns=list(RUNS.names), dtype=object))
        parts["training"].append(training)
        traced = read_run_rows(folder / run_files.MAGNITUDES, MAGNITUDES, run.run)
        is_angle = traced["kind"] == "angle"
        parts["magnitudes"].append(traced[~is_angle])
        parts["angles"].append(traced[is_angle].rename(columns={"magnitude": "radians"})[list(ANGLES.names)])
        for name in HELDOUT_AGGREGATES:
            if name in names:
                parts[name].append(read_run_rows(folder / f"{name}.csv", SCHEMAS[name], run.run))
        for score in run.scores:
            parts["fid"].append(read_run_rows(folder / score, FID, run.run, protocol=_protocol(score)))
    return {name: pd.concat(parts[name], ignore_index=True) for name in names}


def subset(tables: Tables, planned: Sequence[PlannedRun]) -> Tables:
    """The tables that `collect` returns for runs and scores that are all among those of `tables`."""
    run_order = {run.run: position for position, run in enumerate(planned)}
    scores = [(run.run, _protocol(score)) for run in planned for score in run.scores]
    score_order = {key: position for position, key in enumerate(scores)}
    chosen = {}
    for name, table in tables.items():
        if name == "fid":
            positions = [score_order.get(key, -1) for key in zip(table["run"], table["protocol"], strict=True)]
        else:
            positions = [run_order.get(run, -1) for run in table["run"]]
        ordered = table.assign(position=positions).sort_values("position", kind="stable", ignore_index=True)
        chosen[name] = ordered[ordered["position"] >= 0].drop(columns="position").reset_index(drop=True)
    return chosen


def _protocol(score: str) -> str:
    """The name of the protocol of a score file, which is in the folder of its samples."""
    return Path(score).parent.name


def _training_rows(folder: Path) -> pd.DataFrame:
    """The rows of a run's training.csv, which may still grow.

    A last line that is cut short is left out; a step that was repeated after a restart counts once, as it was last.
    """
    path = folder / run_files.TRAINING_TABLE
    text = read_intact(path, remedy(path)).decode(errors="replace") if path.exists() else ""
    text = text[: text.rfind("\n") + 1]
    if not text:
        return empty_text_table(TRAINING)
    frame = read_text(path, TRAINING, io.StringIO(text))
    if "step" in frame:
        frame = frame.drop_duplicates("step", keep="last")
    return check(frame, path, TRAINING, absent=("run",)).assign(run=folder.name)[list(TRAINING.names)]


def _run_row(run: PlannedRun, folder: Path, training: pd.DataFrame) -> dict[str, Any]:
    """A row of runs.csv: from trained.json when the run has ended, from training.csv when it has begun."""
    row = {name: value for name, value in asdict(run).items() if name in RUNS.names}
    path = folder / run_files.TRAINED
    if path.exists():
        trained = TrainedRun.read(path)
        if trained.run != run.run:
            raise UserError(f"{path}: belongs to run {trained.run}: must belong to {run.run}, whose folder it is in")
        is_complete = trained.status == "diverged" or trained.step >= run.steps
        outcome = {name: value for name, value in trained.to_json().items() if name in RUNS.names and name not in row}
        return row | outcome | {"status": trained.status if is_complete else "running", "device": trained.hardware}
    if len(training):
        return row | {"status": "running", "step": training["step"].iloc[-1], "loss": training["loss"].iloc[-1]}
    return row | {"status": "missing"}
