"""How a damaged or lost file of results is made again: the words that follow `path: damaged: ...`."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

from ..system.seals import REMEDY, require_intact
from . import run_files

# Folders in results/
KINDS = ("runs", "latents", "sources", "reference", "experiments", "tuning", "figures", "interim")


def remedy(path: str | Path) -> str:
    """What to do about the file at `path`, in one line; goals of Snakemake are named from the folder of the study.

    A file is known by the folders above it, wherever the results are.
    """
    parts = PurePath(path).parts
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] in KINDS:
            return _remedy_in(parts[position], PurePath(*parts[position:]), Path(path))
    return _of_whole_study(PurePath(path).name)


def require_intact_model(folder: str | Path) -> None:
    """Raise UserError unless the files of a saved model are as they were written, where they are in a folder here."""
    for name in (run_files.MODEL_CONFIG, run_files.MODEL_WEIGHTS):
        path = Path(folder) / name
        if path.exists():
            require_intact(path, remedy(path))


def make_again(goal: str | PurePath) -> str:
    """Delete the file and have Snakemake make it."""
    return f"delete it and run `snakemake --cores all results/{goal}`"


def continue_training(run: str) -> str:
    """The command that continues a run from its last checkpoint, and writes what it leaves at its end."""
    return f"run `snakemake --cores all results/runs/{run}/{run_files.TRAINED}`"


def train_again(run: str) -> str:
    """Train a run from its start, which on the CPU gives the same weights."""
    return f"train the run again: delete results/runs/{run} and {continue_training(run)}"


def _remedy_in(kind: str, goal: PurePath, path: Path) -> str:
    if kind == "runs" and len(goal.parts) > 2:
        return _of_run(goal, path)
    if kind == "latents" and len(goal.parts) > 2:
        folder = PurePath(*goal.parts[:2])
        if goal.parts[2] == "shards":  # what was encoded already stays
            lost = f"results/{PurePath(*goal.parts[:4])}"
            return f"delete {lost} and run `snakemake --cores all results/{folder}/{run_files.MANIFEST}`"
        return f"delete results/{folder} and run `snakemake --cores all results/{folder}/{run_files.MANIFEST}`"
    if kind == "sources":
        return "delete it: Snakemake lists the pictures again before it uses them"
    if kind == "interim":
        return "run `snakemake --cores 1 interim` again"
    return make_again(goal)


def _of_run(goal: PurePath, path: Path) -> str:
    run, name = goal.parts[1], goal.parts[2]
    of_outcome = f"delete it and trained.json, then {continue_training(run)}, which goes on from the last checkpoint"
    by_name: Mapping[str, Callable[[], str]] = {
        run_files.SPEC: lambda: make_again(goal),
        run_files.TRAINED: lambda: f"{make_again(goal)}, which goes on from the last checkpoint",
        run_files.OUTCOME: lambda: "replace it by a copy of the trained.json beside it, which has the same content",
        run_files.TRAINING_TABLE: lambda: of_outcome,
        run_files.MODEL_CONFIG: lambda: of_outcome,
        run_files.MODEL_WEIGHTS: lambda: of_outcome,
        run_files.CHECKPOINTS: lambda: "delete it: training goes on from the checkpoint before it, or from the start",
        run_files.SNAPSHOTS: lambda: f"restore it from a copy, or {train_again(run)}",
    }
    if name in by_name:
        return by_name[name]()
    if path.name == run_files.SAMPLE_RECORD:
        arrays = run_files.SAMPLE_ARRAYS
        command = f"snakemake --cores all results/{goal.with_name(arrays)}"
        return f"delete it and {path.with_name(arrays)}, then run `{command}`"
    return make_again(goal)


def _of_whole_study(name: str) -> str:
    if name == "study-lock.json":
        return "restore it from a copy; without one delete it: the next run that is trained fixes the study anew"
    if PurePath(name).suffix in (".csv", ".md", ".tex", ".html", ".yaml", ".json"):
        return make_again(name)
    return REMEDY
