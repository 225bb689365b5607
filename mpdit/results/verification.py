"""Every file of a results folder, read anew and compared with its seal: what is damaged or lost, and the way out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..experiment import run_files
from ..experiment.records import TrainedRun
from ..experiment.remedies import remedy
from ..experiment.run_spec import RunSpec
from ..experiment.snapshot_files import list_snapshots, other_model, stored_snapshots
from ..system.errors import UserError
from ..system.files import read_json
from ..system.seals import CHANGED, Inspection, array_seal, inspect

# No results, or written by Snakemake; a spec.json is sealed by the name of its run.
UNSEALED = (run_files.SPEC, run_files.LOCK, run_files.TRAIN_LOG, "finished", "README.md")
LOGS = "logs"


@dataclass(frozen=True)
class Damage:
    """A file that is damaged or lost, and how it is made again."""

    path: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"


@dataclass
class Verified:
    """What was read so far."""

    files: int = 0
    size: int = 0  # bytes
    unsealed: list[Path] = field(default_factory=list)
    damaged: int = 0  # files that are damaged or lost


def verify(results: Path, verified: Verified) -> Iterator[Damage]:
    """Read every file below `results` and yield what is damaged, as it is found, while `verified` counts along.

    Hidden files, logs and locks are no results. Nothing is written. Raises UserError if there is no such folder.
    """
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; expected the results of a study")
    for name, subfolders, names in os.walk(results):
        subfolders[:] = sorted(each for each in subfolders if not each.startswith(".") and each != LOGS)
        folder = Path(name)
        for path, problem in _problems(folder, sorted(each for each in names if not each.startswith(".")), verified):
            verified.damaged += 1
            yield Damage(path, problem, _remedy(path))


def _problems(folder: Path, names: list[str], verified: Verified) -> Iterator[tuple[Path, str]]:
    """The files of one folder that are damaged, and those that the others say should be there."""
    arrays = _seals_of_arrays(folder) if run_files.MANIFEST in names else {}
    snapshots = {snapshot.path.name: snapshot for snapshot in list_snapshots(folder)}
    damaged = set()
    for name in names:
        path = folder / name
        if name in UNSEALED or not path.is_file():
            continue
        inspection = _inspect_array(path, arrays[name]) if name in arrays else inspect(path)
        problem = inspection.damage
        if problem is None and name in snapshots and folder.name == run_files.SNAPSHOTS:
            problem = other_model(snapshots[name], folder.resolve().parent.name)
        if problem is not None:
            if path.exists():  # else it was replaced or removed meanwhile, by a process that works on it
                damaged.add(name)
                yield path, problem
            continue
        verified.files += 1
        verified.size += path.stat().st_size
        if not inspection.sealed:
            verified.unsealed.append(path)
    for name in sorted(arrays.keys() - set(names)):
        yield folder / name, "no such file"
    if run_files.SPEC in names:
        yield from _problems_of_run(folder, damaged)


def _problems_of_run(folder: Path, damaged: set[str]) -> Iterator[tuple[Path, str]]:
    """What the specification and the outcome of a run say that its folder does not hold."""
    spec = folder / run_files.SPEC
    try:
        run = RunSpec.read(spec)
    except UserError as error:
        yield spec, str(error).removeprefix(f"{spec}: ")
        return
    if folder.resolve().name != run.name:
        yield spec, f"is of run {run.name}, whose name its folder must have"
    outcomes = [folder / name for name in (run_files.TRAINED, run_files.OUTCOME) if name not in damaged]
    outcome = next((path for path in outcomes if path.exists()), None)
    if outcome is None:
        return
    try:
        trained = TrainedRun.read(outcome)
    except UserError as error:
        yield outcome, str(error).removeprefix(f"{outcome}: ")
        return
    if trained.run != run.name:
        yield outcome, f"is of run {trained.run}, must be of {run.name}"
        return
    for snapshot in stored_snapshots(folder, run, trained):
        if not snapshot.path.exists():
            yield snapshot.path, "no such file"


def _seals_of_arrays(folder: Path) -> dict[str, str]:
    """The seals of the arrays of latents, by file; none where the manifest has none or cannot be read."""
    try:
        manifest = read_json(folder / run_files.MANIFEST)
    except UserError:
        return {}
    seals = manifest.get("seals", {}) if isinstance(manifest, dict) else {}
    return seals if isinstance(seals, dict) else {}


def _inspect_array(path: Path, seal: str) -> Inspection:
    try:
        return Inspection(True, None if array_seal(path) == seal else CHANGED)
    except OSError as error:
        return Inspection(True, f"cannot be read: {error.strerror}")
    except ValueError as error:
        return Inspection(True, str(error))


def _remedy(path: Path) -> str:
    """How a file is made again: of a snapshot, from the checkpoint of its step, if there is one."""
    if path.parent.name == run_files.SNAPSHOTS:
        step = path.name.split("-")[1]
        checkpoint = path.parents[1] / run_files.CHECKPOINTS / run_files.checkpoint_file(int(step))
        if checkpoint.exists() and inspect(checkpoint) == Inspection(sealed=True):
            return f"{checkpoint} holds it, and the next command that needs it writes it again"
    return remedy(path)
