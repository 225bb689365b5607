"""Every table and figure, and the report, of the runs that are finished now, all marked as interim."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..experiment.grid import Experiment
from ..results.collect import collect, subset
from ..results.study_lock import LOCK_FILE, planned_study
from ..results.tables import Tables, write_tables
from ..system.errors import UserError
from ..system.files import read_json, write_json
from . import report
from .artifacts import read, render
from .goals import goals
from .registry import Artifact, ArtifactData, claim_bounds
from .run_list import state_counts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOR = "#8a3b00"  # of the notice on figures


@dataclass(frozen=True)
class Problem:
    """Why an artifact could not be rendered."""

    reason: str
    is_defect: bool  # of the program, not of the data


@dataclass(frozen=True)
class Interim:
    """What `write_interim` has written."""

    report: Path
    states: str  # the number of runs in each state and the number of scores
    artifacts: int  # number of tables and figures that the study has
    problems: dict[str, Problem]  # those that could not be rendered, by their file


def write_interim(experiment: Experiment, runs: Path, cost: Path | None, output: Path) -> Interim:
    """Aggregate, render and report whatever the folder `runs` holds now. Nothing is written there.

    Args:
        cost: cost.csv; None if step times were not measured.
        output: the folder to write, laid out like results/.

    An artifact that cannot be rendered does not stop the others: what is wrong is returned, and shown in the report.
    Its files from an earlier call are removed, so that everything in `output` is from this one.
    """
    found = goals(experiment.blocks, experiment.aggregates)
    tables = _aggregate(experiment, runs, output, [goal.block for goal in found.values()])
    states = f"{state_counts(tables['runs']['status'])}; {_score_count(experiment, tables)}"
    notice = f"Interim, {time.strftime('%Y-%m-%d %H:%M')}; {states}."
    problems = {}
    for file, goal in found.items():
        data = output / "experiments" / goal.block if goal.block else output
        problem = _render(goal.artifact, data, cost, runs, output, notice)
        if problem:
            problems[file] = problem
    path = output / "report.html"
    reasons = {file: problem.reason for file, problem in problems.items()}
    report.write(path, experiment, output, runs, notice, reasons)
    return Interim(path, states, len(found), problems)


def _aggregate(experiment: Experiment, runs: Path, output: Path, blocks: Iterable[str | None]) -> Tables:
    """Write plan.json and the aggregates of all runs, and of each block that an artifact is made from. Returns those of
    all runs."""
    every = collect(experiment.planned_runs(*experiment.blocks), runs, experiment.aggregates)
    plan = experiment.plan(*experiment.blocks)
    write_json(output / "plan.json", {**plan, **planned_study(experiment, claim_bounds())})
    _copy_lock(runs.parent / LOCK_FILE, output / LOCK_FILE)
    write_tables(every, output)
    for block in dict.fromkeys(filter(None, blocks)):
        folder = output / "experiments" / block
        write_json(folder / "plan.json", experiment.plan(block))
        write_tables(subset(every, experiment.planned_runs(block)), folder)
    return every


def _copy_lock(lock: Path, copy: Path) -> None:
    if lock.exists():
        write_json(copy, read_json(lock))
    else:
        copy.unlink(missing_ok=True)


def _score_count(experiment: Experiment, tables: Tables) -> str:
    """`31 of 110 scores`: those that there are, of those that there will be. Runs that diverged have none."""
    scored = set(tables["runs"].loc[tables["runs"]["status"] != "diverged", "run"])
    planned = sum(len(run.scores) for run in experiment.planned_runs(*experiment.blocks) if run.run in scored)
    return f"{len(tables['fid'])} of {planned} scores"


def _render(artifact: Artifact, data: Path, cost: Path | None, runs: Path, output: Path, notice: str) -> Problem | None:
    folder = output if artifact.kind == "table" else output / "figures"
    files = [folder / f"{artifact.name}{suffix}" for suffix in artifact.suffixes]
    for file in files:
        file.unlink(missing_ok=True)
    try:
        tables = read(artifact, data, cost, runs)
        tables["interim"] = True
        render(_marked(artifact, notice), tables, files[0])
    except UserError as error:
        return Problem(str(error), is_defect=False)
    except Exception as error:  # a defect in one figure must not cost the reader all the others
        traceback.print_exc()
        return Problem(f"{type(error).__name__}: {error}", is_defect=True)
    return None


def _marked(artifact: Artifact, notice: str) -> Artifact:
    """The artifact with the notice before its caption and, on a figure, as a watermark."""

    def make(data: ArtifactData) -> Figure:
        figure: Figure = artifact.make(data)
        look: dict[str, Any] = {"ha": "center", "color": COLOR, "in_layout": False}
        figure.text(0.5, 0.5, "interim", va="bottom", fontsize=40, alpha=0.15, **look)
        figure.text(0.5, 0.5, notice, va="top", fontsize=7, alpha=0.5, **look)
        return figure

    caption = f"{notice} {artifact.caption}"
    return replace(artifact, caption=caption, make=make if artifact.kind == "figure" else artifact.make)
