"""Import of run folders from another machine, and what is checked before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..experiment import run_files
from ..experiment.columns import AGGREGATES, FID, HELDOUT, HELDOUT_AGGREGATES
from ..experiment.grid import Experiment
from ..experiment.ladder import SHIPPED, Ladder
from ..experiment.parts import require
from ..experiment.records import Manifest, PlannedRun, TrainedRun
from ..experiment.run_spec import Protocol, RunSpec
from ..system.errors import UserError
from ..system.lock import exclusive
from .collect import collect
from .copy_run import compare, copy_run
from .foreign_files import (
    SCORES,
    ForeignFiles,
    list_files,
    named,
    require_complete,
    require_own_snapshots,
    require_there,
    require_whole,
)
from .tables import read_run_rows


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
    found = list_files(folder)
    require_there(found, [Path(run_files.SPEC), Path(run_files.TRAINED)])
    require_whole(found, found.tables)
    run, trained = _checked_run(folder, study), TrainedRun.read(folder / run_files.TRAINED)
    target = runs / run.name
    if target.resolve() == folder.resolve():
        raise UserError(f"{folder}: is in {runs} already: must be a folder from elsewhere")
    planned = PlannedRun(**run.key(), steps=run.training.steps, paper_setting=False, standard_lr=False, scores=())
    # For its checks of trained.json and of every table
    collect([planned], folder.resolve().parent, (*AGGREGATES, *HELDOUT_AGGREGATES))
    require_complete(found, run, trained)
    remark = _check_latents(folder, run, trained, Path(latents))
    foreign = {**_foreign_scores(found, run, runs), **_foreign_losses(folder, run, runs)}
    files = [file for file in found.usable if file not in foreign]
    require_whole(found, [file for file in files if file not in found.tables])
    require_own_snapshots(found, run)
    planned_here = study.runs if study else {}
    spec = planned_here.get(run.name, run)
    is_new = not target.exists()
    try:
        with exclusive(target / run_files.LOCK, wait=0):
            present = compare(target, trained, files)
            if present.other_state is None or replace:
                copy_run(found, target, present.missing, spec, replace=present.other_state is not None)
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
    if found.strays:
        report(f"{run.name}: left out, as no run has them: {named(found.strays)}")
    for file, reason in foreign.items():
        report(f"{run.name}: {file} left out, Snakemake will make it again: {reason}")
    if trained.status == "trained" and not any(file.parts[0] == run_files.SNAPSHOTS for file in files):
        report(f"{run.name}: has no snapshots: no more images can be drawn from it")


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def _checked_run(folder: Path, study: Experiment | None) -> RunSpec:
    """The run of a folder. Raises UserError unless it is one of `study`, or of a configuration that is defined here."""
    path = folder / run_files.SPEC
    run = RunSpec.read(path)
    if study is None or run.name not in study.runs:
        _require_definition(path, run, study.ladder if study else SHIPPED)
    if folder.resolve().name != run.name:
        raise UserError(f"{folder}: must be named {run.name}, as its spec.json says")
    return run


def _require_definition(path: Path, run: RunSpec, ladder: Ladder) -> None:
    """Raise UserError unless the run of a spec.json has a configuration that is defined in just this way here.

    So must its parts be, by their versions and options.
    """
    try:
        here = asdict(ladder.config(run.config))
    except UserError as error:
        raise UserError(f"{path}: config: {error}") from None
    for name, value in asdict(run.fields).items():
        if value != here[name]:
            raise UserError(
                f"{path}: {name} of Config {run.config} is {value!r}: must be {here[name]!r}, as defined here"
            )
    try:
        require(run.parts, asdict(run.fields), run.modulation)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


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


def _foreign_scores(found: ForeignFiles, run: RunSpec, runs: Path) -> dict[Path, str]:
    """Scores by other features or against another reference than here: path within the folder, reason.

    Raises UserError for a row whose protocol is not the one that its folder is named after, or that is not of this run.
    """
    foreign: dict[Path, str] = {}
    hashes: dict[str, dict[str, str]] | None = None
    for file in found.scores:
        path = found.folder / file
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
                    foreign[file] = f"{column} is {row[column]}, here {ours}"
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
            for path in (runs / other.name).glob(SCORES):
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
