"""results/study-lock.json: what a study has fixed before its first reported run was trained.

A claim whose settings were changed later is exploratory. The file is written once and never again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..experiment import run_files
from ..experiment.grid import Experiment
from ..experiment.records import JsonRecord
from ..experiment.remedies import remedy
from ..system.files import read_json, write_json

LOCK_FILE = "study-lock.json"  # in results/
# Fields of a lock file: what they are, in words.
FIELDS = {
    "rates": "learning rates",
    "seeds": "training seeds",
    "primary": "primary claims",
    "metrics": "how images are sampled and scored",
    "bounds": "bounds of the primary claims",
}


@dataclass(frozen=True)
class StudyLock(JsonRecord):
    """The settings that claims depend on."""

    written_by = "the workflow"

    rates: dict[str, float]  # run without its seed: learning rate
    seeds: dict[str, Any]  # the same: its training seeds
    primary: tuple[str, ...]
    metrics: dict[str, Any]
    bounds: dict[str, Any]  # primary claim: lower and upper bound, null where there is none
    trained_before: bool = False  # whether runs had been trained before the file was written

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any of the settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def differences(self, now: StudyLock) -> tuple[str, ...]:
        """The settings that are no longer as they were, in words; also that the file came too late."""
        changed = tuple(
            words for name, words in FIELDS.items() if _plain(getattr(self, name)) != _plain(getattr(now, name))
        )
        return (*changed, *(["runs were trained before the lock file was written"] if self.trained_before else []))


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True)
class PlannedStudy:
    """What plan.json says of the whole study."""

    primary: tuple[str, ...] = ()
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lock: StudyLock | None = None  # the settings as they are now


def lock_of(
    experiment: Experiment, bounds: Mapping[str, tuple[float, float]], trained_before: bool = False
) -> StudyLock:
    """The settings of a study as its configuration has them now; `bounds` are those of all registered claims."""
    rates: dict[str, float] = {}
    seeds: dict[str, list[int]] = {}
    for run in experiment.planned_runs(*experiment.blocks):
        if run.standard_lr:
            name = f"{run.model} {run.config} {run.modulation} {run.data} {run.steps}"
            rates[name] = run.lr
            seeds.setdefault(name, []).append(run.seed)
    metrics = {
        "sampling": experiment.configuration["sampling"],
        "scoring": experiment.configuration["scoring"],
        "heldout": experiment.configuration["heldout"],
    }
    primary = tuple(experiment.claims.primary)
    chosen = {name: [_bound(bound) for bound in bounds[name]] for name in primary if name in bounds}
    listed: dict[str, Any] = {name: sorted(own) for name, own in seeds.items()}
    return StudyLock(rates, listed, primary, metrics, chosen, trained_before)


def _bound(bound: float) -> float | None:
    return bound if abs(bound) < float("inf") else None


def planned_study(experiment: Experiment, bounds: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """What plan.json holds of the whole study, beside its runs; empty without primary claims and controls."""
    controls = {
        name: [run.name for run in block.runs if not _is_elsewhere(experiment, run.name, name)]
        for name, block in experiment.blocks.items()
        if name in CONTROLS
    }
    values: dict[str, Any] = {}
    if experiment.claims.primary:
        values |= {"primary": list(experiment.claims.primary), "lock": asdict(lock_of(experiment, bounds))}
    return values | ({"controls": controls} if controls else {})


CONTROLS = ("control_same", "control_worse")  # blocks of the configuration


def _is_elsewhere(experiment: Experiment, run: str, control: str) -> bool:
    """Whether a block other than the controls has this run too."""
    return any(
        run == other.name
        for name, block in experiment.blocks.items()
        if name != control and name not in CONTROLS
        for other in block.runs
    )


def write_lock(path: Path, experiment: Experiment, bounds: Mapping[str, tuple[float, float]], runs: Path) -> None:
    """Write the lock file of a study, unless it is there. `runs` is the folder of run folders.

    Of several processes that do this at once, one writes the file; all would write the same.
    """
    if not path.is_file():
        trained_before = any((runs / name / run_files.TRAINED).exists() for name in experiment.runs)
        write_json(path, asdict(lock_of(experiment, bounds, trained_before)))


def read_lock(path: Path) -> StudyLock:
    """The lock file. Raises UserError, one line that names the file, for one that is not right."""
    return StudyLock.read(path)


def read_planned_study(path: Path) -> PlannedStudy:
    """What a plan.json says of the whole study."""
    values = read_json(path, remedy(path))
    if not isinstance(values, dict):
        return PlannedStudy()
    controls = {name: tuple(runs) for name, runs in values.get("controls", {}).items()}
    lock = StudyLock.from_json(values["lock"], f"{path}: lock") if "lock" in values else None
    return PlannedStudy(tuple(values.get("primary", ())), controls, lock)
