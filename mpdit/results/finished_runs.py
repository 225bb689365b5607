"""Runs and their results that need nothing more, whatever happens to the files that they were made from.

The workflow decides by this what it leaves alone: by what files hold, and by modification times only where an outcome
was made from another one.
"""

import csv
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ..experiment import run_files
from ..experiment.grid import Experiment
from ..experiment.records import Manifest, TrainedRun
from ..experiment.run_spec import RunSpec
from ..system.errors import UserError
from ..system.files import write_json


def outcome(folder: Path, run: RunSpec) -> TrainedRun | None:
    """How the training of `run` in `folder` has ended; None where it has not, or has taken fewer steps than asked for.

    Snakemake deletes trained.json before it trains a run again; what that held is also in outcome.json.
    """
    for name in (run_files.TRAINED, run_files.OUTCOME):
        with suppress(UserError):
            trained = TrainedRun.read(folder / name)
            if trained.run == run.name and (trained.status == "diverged" or trained.step >= run.training.steps):
                return trained
    return None


def kept_outcome(run: RunSpec, latents: Path, output: Path) -> TrainedRun | None:
    """The outcome of a run that has ended and has no checkpoint of its end, written to `output` as it was.

    None where training has something to do: take steps, or write the model and the last snapshots from the checkpoint
    of the last step. Raises UserError where the run was trained on other latents than those in the folder `latents`.
    """
    ended = outcome(output.parent, run)
    if ended is None:
        return None
    checkpoints = run_files.list_checkpoints(output.parent / run_files.CHECKPOINTS)
    if ended.status == "trained" and checkpoints and checkpoints[-1][0] == ended.step:
        return None
    here = Manifest.read(latents / run_files.MANIFEST).fingerprint
    if here != ended.latents:
        raise UserError(
            f"{output.parent}: was trained on latents {ended.latents[:12]}, but {latents} holds {here[:12]}: both must "
            f"be the same; train on changed latents in a folder of its own"
        )
    write_json(output, ended.to_json())
    return ended


def finished_runs(runs: Mapping[str, RunSpec], folder: Path) -> dict[str, TrainedRun]:
    """Those of `runs`, by name, whose training has ended, with their outcomes; `folder` is the folder of run folders.

    A run without spec.json or trained.json has not ended, as far as the workflow is concerned: it makes them again.
    """
    ended = {}
    for name, run in runs.items():
        if (folder / name / run_files.TRAINED).exists() and (folder / name / run_files.SPEC).exists():
            trained = outcome(folder / name, run)
            if trained is not None:
                ended[name] = trained
    return ended


def require_latents_of_runs(folder: Path, latents: Path, fingerprint: str) -> None:
    """Raise UserError where a run in `folder` was trained on other latents than those of this fingerprint.

    Only runs on the data that the folder `latents` is named after count, and only those that have ended.
    """
    for path in sorted(folder.glob(f"*/{run_files.SPEC}")):
        with suppress(UserError):
            run = RunSpec.read(path)
            ended = outcome(path.parent, run) if run.data.folder_name == latents.name else None
            if ended is not None and ended.latents != fingerprint:
                break
    else:
        return
    raise UserError(
        f"{latents}: the latents made now, {fingerprint[:12]}, are not those that {path.parent} was trained on, "
        f"{ended.latents[:12]}: the pictures or the autoencoder have changed; give the new ones a data.name of their "
        f"own, or see docs/how-to/own-pictures.md"
    )


def sampled(experiment: Experiment, folder: Path) -> list[str]:
    """The folders of samples that are complete, as `RUN/samples/PROTOCOL`; `folder` is the folder of run folders."""
    names = (run_files.SAMPLE_ARRAYS, run_files.SAMPLE_GRID, run_files.SAMPLE_RECORD)
    folders = [
        f"{run.run}/{Path(score).parent}" for run in experiment.planned_runs(*experiment.blocks) for score in run.scores
    ]
    return [name for name in dict.fromkeys(folders) if all((folder / name / file).exists() for file in names)]


def traced(runs: Iterable[str], folder: Path) -> list[str]:
    """Those of `runs` whose magnitudes are not older than their trained.json."""
    return [run for run in runs if _is_newer([folder / run / run_files.MAGNITUDES], folder / run / run_files.TRAINED)]


def measured(runs: Iterable[str], folder: Path, draws: int) -> list[str]:
    """Those of `runs` whose held-out losses are of so many draws, and not older than their trained.json."""
    return [
        run
        for run in runs
        if _is_newer(
            [folder / run / name for name in (run_files.HELDOUT, run_files.HELDOUT_IMAGES)],
            folder / run / run_files.TRAINED,
        )
        and _draws(folder / run / run_files.HELDOUT) <= {str(draws)}
    ]


def _draws(path: Path) -> set[str]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row.get("draws", "") for row in csv.DictReader(file)}


def _is_newer(files: Iterable[Path], than: Path) -> bool:
    """Whether all files are there, and none is older than `than`, from which they were made."""
    try:
        made = than.stat().st_mtime_ns
        return all(file.stat().st_mtime_ns >= made for file in files)
    except FileNotFoundError:
        return False
