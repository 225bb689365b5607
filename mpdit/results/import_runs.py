"""Import of run folders from another machine: what is checked, and how files are copied."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..experiment import run_files
from ..experiment.columns import AGGREGATES, FID, HELDOUT, HELDOUT_AGGREGATES
from ..experiment.grid import Experiment
from ..experiment.ladder import SHIPPED, Ladder
from ..experiment.records import Manifest, PlannedRun, TrainedRun
from ..experiment.run_spec import Protocol, RunSpec
from ..system.errors import UserError
from ..system.files import read_json, sync_folder, write_json
from ..system.lock import exclusive
from .collect import collect
from .tables import read_run_rows

# What is of use in a run folder, in the order of copying; locks, half-written files and anything else are left behind.
FILES = (
    run_files.SPEC, run_files.MODEL_CONFIG, run_files.MODEL_WEIGHTS, run_files.TRAINING_TABLE, run_files.TRAIN_LOG,
    f"{run_files.CHECKPOINTS}/step-*.safetensors", f"{run_files.SNAPSHOTS}/*.safetensors",
    f"{run_files.SAMPLES}/*/{run_files.SAMPLE_ARRAYS}", f"{run_files.SAMPLES}/*/{run_files.SAMPLE_GRID}",
    f"{run_files.SAMPLES}/*/{run_files.SAMPLE_RECORD}", run_files.TRAINED, run_files.MAGNITUDES, run_files.HELDOUT,
    run_files.HELDOUT_IMAGES, f"{run_files.SAMPLES}/*/fid-*.csv",
)  # fmt: skip


def import_run(
    folder: str | Path,
    runs: str | Path,
    latents: str | Path,
    study: Experiment | None = None,
    replace: bool = False,
    report: Callable[[str], None] = print,
) -> None:
    """Copy a run folder into the folder `runs`, if everything in it is as it would be here.

    A run that is already here from the same training gets the files that it does not have yet; one that is here in
    another state is replaced only with `replace`. `study` is the one here, where it is known: a run of it is trained to
    as many steps as it asks for. The configuration of any other run must be defined here in the same way.

    Files are copied under another name and moved into place under the run's lock, trained.json among the last, as
    training does it. Modification times are set so that no output is older than what it was made from: Snakemake then
    makes nothing again, and only continues the training where more steps are asked for here.

    Raises UserError, one line that names file and field, for a folder that cannot be imported.
    """
    folder, runs = Path(folder), Path(runs)
    run = RunSpec.read(folder / run_files.SPEC)
    planned_here = study.runs if study else {}
    if run.name not in planned_here:
        _require_definition(folder / run_files.SPEC, run, study.ladder if study else SHIPPED)
    if folder.resolve().name != run.name:
        raise UserError(f"{folder}: must be named {run.name}, as its spec.json says")
    target = runs / run.name
    if target.resolve() == folder.resolve():
        raise UserError(f"{folder}: is in {runs} already: must be a folder from elsewhere")
    trained = TrainedRun.read(folder / run_files.TRAINED)
    planned = PlannedRun(**run.key(), steps=run.training.steps, paper_setting=False, standard_lr=False, scores=())
    # For its checks of trained.json and of every table
    collect([planned], folder.resolve().parent, (*AGGREGATES, *HELDOUT_AGGREGATES))
    remark = _check_latents(folder, run, trained, Path(latents))
    foreign = {**_foreign_scores(folder, run, runs), **_foreign_losses(folder, run, runs)}
    files = [path.relative_to(folder) for pattern in FILES for path in sorted(folder.glob(pattern))]
    files = [file for file in files if file not in foreign]
    spec = planned_here.get(run.name, run)
    is_new = not target.exists()
    try:
        with exclusive(target / run_files.LOCK, wait=0):
            present = _compare(target, trained, files)
            if present.other_state is None or replace:
                _copy(folder, target, present.missing, spec, replace=present.other_state is not None)
    except BaseException:
        if is_new:  # leave no empty folder
            with suppress(OSError):
                (target / run_files.LOCK).unlink()
                target.rmdir()
        raise
    if present.other_state is not None and not replace:
        raise UserError(
            f"{folder}: {trained.status} at step {trained.step}, but the run is here already, {present.other_state}: "
            f"use --replace to put it in that run's place"
        )
    if not present.missing:
        report(f"{run.name}: is here already, with the same files: nothing imported")
        return
    count = f"{len(present.missing)} file{'' if len(present.missing) == 1 else 's'}"
    report(f"{run.name}: {trained.status}, step {trained.step}, {count} imported{remark}")
    if study is not None and run.name not in planned_here:
        report(f"{run.name}: is not among the runs of this configuration, so no table or figure shows it")
    for file, reason in foreign.items():
        report(f"{run.name}: {file} left out, Snakemake will make it again: {reason}")
    if trained.status == "trained" and not any(file.parts[0] == run_files.SNAPSHOTS for file in files):
        report(f"{run.name}: has no snapshots: no more images can be drawn from it")


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def _require_definition(path: Path, run: RunSpec, ladder: Ladder) -> None:
    """Raise UserError unless the run of a spec.json has a configuration that is defined in just this way here."""
    try:
        here = asdict(ladder.config(run.config))
    except UserError as error:
        raise UserError(f"{path}: config: {error}") from None
    for name, value in asdict(run.fields).items():
        if value != here[name]:
            raise UserError(
                f"{path}: {name} of Config {run.config} is {value!r}: must be {here[name]!r}, as defined here"
            )


def _check_latents(folder: Path, run: RunSpec, trained: TrainedRun, latents: Path) -> str:
    """A remark where there are no latents here to compare with. Raises UserError if the run was trained on others."""
    path = latents / run.data.folder_name / run_files.MANIFEST
    if not path.exists():
        return (
            f"; its latents, {trained.latents[:12]}, are not here to compare: make them by "
            f"`snakemake --cores all {path}`"
        )
    fingerprint = Manifest.read(path).fingerprint
    if trained.latents != fingerprint:
        raise UserError(
            f"{folder / run_files.TRAINED}: latents {trained.latents[:12]}: must be those of {path}, {fingerprint[:12]}"
        )
    return ""


def _foreign_scores(folder: Path, run: RunSpec, runs: Path) -> dict[Path, str]:
    """Scores by other features or against another reference than here: path within the folder, reason.

    Raises UserError for a row whose protocol is not the one that its folder is named after, or that is not of this run.
    """
    foreign: dict[Path, str] = {}
    hashes: dict[str, dict[str, str]] | None = None
    for path in sorted(folder.glob(FILES[-1])):
        for row in read_run_rows(path, FID, run.name, protocol=path.parent.name).to_dict("records"):
            for axis, value in run.key().items():
                if not _is_equal(row[axis], value):
                    raise UserError(f"{path}: {axis} is {row[axis]}: must be {value}, as in spec.json")
            protocol = _protocol_name(path, row)
            if protocol != path.parent.name:
                raise UserError(f"{path}: its row is of protocol {protocol}: must be the one that names its folder")
            hashes = _hashes_here(runs, run) if hashes is None else hashes
            for column, ours in hashes.get(path.name, {}).items():
                if ours != row[column]:
                    foreign[path.relative_to(folder)] = f"{column} is {row[column]}, here {ours}"
    return foreign


def _is_equal(cell: str, value: str | float) -> bool:
    """Whether the text of a cell stands for the value."""
    try:
        return cell == value if isinstance(value, str) else float(cell) == value
    except ValueError:
        return False


def _protocol_name(path: Path, row: Mapping[Any, str]) -> str:
    try:
        return Protocol(
            sampler=row["sampler"],
            sampling_steps=int(row["steps"]),
            guidance=float(row["guidance"]),
            count=int(row["count"]),
            ema_width=float(row["ema_width"]) if row["ema_width"] else None,
            step=int(row["step"]),
            sampling_seed=int(row["sampling_seed"]),
        ).name
    except ValueError as error:
        raise UserError(f"{path}: {error}: must be a score that `mpdit score` wrote") from None


def _hashes_here(runs: Path, run: RunSpec) -> dict[str, dict[str, str]]:
    """By the name of a score file: features_hash and reference_hash, as the runs here on the same data have them."""
    hashes: dict[str, dict[str, str]] = {}
    for other in _others_on_the_same_data(runs, run):
        with suppress(UserError):  # a damaged file is nothing to compare with
            for path in (runs / other.name).glob(FILES[-1]):
                for row in read_run_rows(path, FID, other.name, protocol=path.parent.name).to_dict("records"):
                    columns = ("features_hash", "reference_hash")
                    hashes.setdefault(path.name, {column: row[column] for column in columns})
    return hashes


def _others_on_the_same_data(runs: Path, run: RunSpec) -> Iterator[RunSpec]:
    for path in sorted(runs.glob(f"*/{run_files.SPEC}")):
        with suppress(UserError):
            other = RunSpec.read(path)
            if other.name != run.name and other.data == run.data:
                yield other


def _foreign_losses(folder: Path, run: RunSpec, runs: Path) -> dict[Path, str]:
    """Held-out losses on other images, or of another number of draws, than those here: path within the folder, reason.

    The losses of two runs are compared image by image, with the same timesteps and noises.
    """
    losses = read_run_rows(folder / run_files.HELDOUT, HELDOUT, run.name)
    for other in _others_on_the_same_data(runs, run):
        with suppress(UserError):
            for ours in read_run_rows(runs / other.name / run_files.HELDOUT, HELDOUT, other.name).to_dict("records"):
                for column in ("heldout", "draws"):
                    theirs = sorted(set(losses[column]) - {ours[column]})
                    if theirs:
                        reason = f"{column} is {theirs[0]}, here {ours[column]}"
                        return dict.fromkeys((Path(run_files.HELDOUT), Path(run_files.HELDOUT_IMAGES)), reason)
    return {}


# ---------------------------------------------------------------------------------------------------------------------
# Copying


@dataclass(frozen=True)
class _Present:
    """What is here of a run that is imported."""

    missing: list[Path]  # files that are to be copied
    other_state: str | None  # of another training that is here and would be lost, in words


def _compare(target: Path, trained: TrainedRun, files: list[Path]) -> _Present:
    path = target / run_files.TRAINED
    if path.exists():
        try:
            ours = TrainedRun.read(path)
        except UserError:
            return _Present(files, "with a trained.json that cannot be read")
        if ours == trained:
            return _Present([file for file in files if not (target / file).exists()], None)
        return _Present(files, f"{ours.status} at step {ours.step}, by another training")
    if (target / run_files.TRAINING_TABLE).exists() or list(target.glob(f"{run_files.CHECKPOINTS}/*")):
        return _Present(files, "begun and not ended")
    return _Present(files, None)


def _copy(folder: Path, target: Path, files: list[Path], spec: RunSpec, replace: bool) -> None:
    """Copy files beside the target, then move them into it, spec.json first and scores last. Only under the lock."""
    stage = target.with_name(f".import-{target.name}")
    shutil.rmtree(stage, ignore_errors=True)  # left by an import that was killed
    try:
        for file in files:
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, stage / file)
            with open(stage / file, "rb+") as copy:
                os.fsync(copy.fileno())
        if Path(run_files.SPEC) in files and read_json(stage / run_files.SPEC) != spec.to_json():
            write_json(stage / run_files.SPEC, spec.to_json(), sealed=False)  # with as many steps as are asked for here
        if replace:
            for path in target.iterdir():
                if path.name not in (run_files.LOCK, run_files.SPEC):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        now = time.time()
        for file in files:
            if file.name == run_files.SPEC and (target / file).exists():
                continue
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            os.utime(stage / file, (now, now + _age(file)))
            os.replace(stage / file, target / file)
        if Path(run_files.TRAINED) in files:
            asked, trained = RunSpec.read(target / run_files.SPEC), TrainedRun.read(target / run_files.TRAINED)
            continues = trained.status == "trained" and trained.step < asked.training.steps
            os.utime(target / run_files.SPEC, (now, now + (-1 if continues else -3)))
        sync_folder(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _age(file: Path) -> int:
    """Seconds relative to now of a file's modification time: no file is older than what it is made from."""
    if file.name == run_files.TRAINED:
        return -2
    last = (run_files.MAGNITUDES, run_files.HELDOUT, run_files.HELDOUT_IMAGES)
    return 0 if file.name in last or file.name.startswith("fid-") else -1
