"""The runs of a study in the report: their states, and the hardware, versions and commits behind their numbers."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..experiment.records import TrainedRun
from ..experiment.remedies import remedy
from ..experiment.run_files import TRAINED
from ..system.console import duration
from ..system.errors import UserError
from ..system.provenance import commit
from ..system.seals import read_intact
from .number_format import plural

# Status of a run in runs.csv: the words for it.
STATES = {"trained": "trained", "running": "started but not finished", "diverged": "diverged", "missing": "not started"}


@dataclass(frozen=True)
class RunRow:
    """What the report needs of a row of runs.csv; None for an empty cell."""

    run: str
    status: str
    step: float | None
    steps: float | None
    loss: float | None
    images_per_second: float | None
    seconds: float | None
    peak_memory_mb: float | None
    device: str | None
    threads: float | None
    latents: str | None
    commit: str | None


NUMBERS = ("step", "steps", "loss", "images_per_second", "seconds", "peak_memory_mb", "threads")


@dataclass(frozen=True)
class RunLine:
    """A run as a reader sees it."""

    run: str
    status: str
    step: str
    steps: str
    loss: str
    images_per_second: str
    time: str
    peak_memory_mb: str


def read_result(path: Path) -> bytes:
    """The content of a file of results. Raises UserError if there is no such file or it is damaged."""
    if not path.exists():
        raise UserError(f"{path}: no such file; make it first with `snakemake {path.with_suffix('')}...`")
    return read_intact(path, remedy(path))


def read_text_result(path: Path) -> str:
    """The text of a file of results. Raises UserError as `read_result` does, and for what is no text."""
    try:
        return read_result(path).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: damaged: no UTF-8 text; {remedy(path)}") from None


def read_runs(path: Path) -> list[RunRow]:
    """The rows of runs.csv. Raises UserError if it cannot be read, has no such columns, or text where numbers are."""
    rows = list(csv.DictReader(read_text_result(path).splitlines()))
    missing = [column for column in RunRow.__dataclass_fields__ if rows and column not in rows[0]]
    if missing:
        raise UserError(f"{path}: missing column {missing[0]!r}; an older version wrote the file, so make it again")
    try:
        return [_run(row) for row in rows]
    except ValueError as error:
        raise UserError(f"{path}: {error}; {remedy(path)}") from None


def _run(row: dict[str, str]) -> RunRow:
    values: dict[str, Any] = {name: row[name] or None for name in RunRow.__dataclass_fields__}
    numbers = {name: float(row[name]) for name in NUMBERS if row[name]}
    return RunRow(**values | numbers)


def state_counts(statuses: Iterable[str]) -> str:
    """The number of runs in each state, from their statuses in runs.csv: `20 runs: 12 trained, 8 not started`."""
    counts = Counter(statuses)
    states = ", ".join(f"{counts[status]} {words}" for status, words in STATES.items() if counts[status])
    return f"{plural(counts.total(), 'run')}: {states}"


def run_lines(runs: Sequence[RunRow]) -> list[RunLine]:
    """The runs as the report's table shows them."""
    return [
        RunLine(
            run=run.run,
            status=STATES.get(run.status, run.status),
            step=_number(run.step, ",.0f"),
            steps=_number(run.steps, ",.0f"),
            loss=_number(run.loss, ".4g"),
            images_per_second=_number(run.images_per_second, ",.0f"),
            time="–" if run.seconds is None else duration(run.seconds),
            peak_memory_mb=_number(run.peak_memory_mb, ",.0f"),
        )
        for run in runs
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def provenance(runs: Sequence[RunRow], folder: Path) -> dict[str, list[str]]:
    """Where the numbers come from: for each term its values, each with the number of runs that have it.

    `folder` holds the run folders, whose trained.json files tell the versions; those that cannot be read are left out.
    """
    finished = [run for run in runs if run.device]
    versions: Counter[str] = Counter()
    for run in finished:
        with suppress(UserError):
            trained = TrainedRun.read(folder / run.run / TRAINED)
            versions[", ".join(f"{name} {number}" for name, number in trained.versions.items() if number)] += 1
    return {
        "hardware": _counted(Counter(f"{run.device}, {plural(run.threads or 0, 'CPU thread')}" for run in finished)),
        "versions": _counted(versions),
        "commit of the training": _counted(Counter(run.commit or "not in a repository" for run in finished)),
        "commit of this report": [commit() or "not in a repository"],
        "latents": _counted(Counter(run.latents or "" for run in finished)),
    }


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{value} ({plural(count, 'run')})" for value, count in counts.most_common()]
