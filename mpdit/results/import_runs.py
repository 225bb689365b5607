"""Run folders brought from another machine: what is checked before they are taken in, and how they are."""

import csv
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ..experiment.grid import Protocol, RunSpec
from ..experiment.ladder import resolve
from ..system.errors import UserError
from ..system.files import read_json, sync_folder, write_json
from ..system.lock import exclusive
from .collect import collect, read_rows

# What a run folder holds that is of use here; locks, half-written files and whatever else lies there stay behind.
FILES = (
    "spec.json", "config.json", "model.safetensors", "training.csv", "train.log", "checkpoints/step-*.safetensors",
    "snapshots/*.safetensors", "samples/*/samples.npz", "samples/*/grid.png", "samples/*/protocol.json",
    "trained.json", "magnitudes.csv", "samples/*/fid-*.csv",
)  # fmt: skip


def take_in(
    folder: str | Path,
    runs: str | Path,
    latents: str | Path,
    wanted: Mapping[str, RunSpec] | None = None,
    replace: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Copy a run folder into the folder `runs`, if all in it is as it would be here.

    `wanted` are the runs of the study here, if it is known: their specs say to how many steps they train.

    A run that is here, by the same training, gets what it lacks; one that stands otherwise is replaced only if so
    asked. Nothing is half taken in: files are copied under another name, and moved in under the run's lock with
    trained.json among the last, as training does it. Times are set so that no output is older than what it was made
    from, so Snakemake makes none anew; where a longer training is asked for here, it goes on.

    Raises UserError, one line that names file and field, for a folder that cannot be taken in.
    """
    folder, runs = Path(folder), Path(runs)
    run = read_run(folder / "spec.json")
    if folder.resolve().name != run.name:
        raise UserError(f"{folder}: must be named {run.name}, as its spec.json says")
    target = runs / run.name
    if target.resolve() == folder.resolve():
        raise UserError(f"{folder}: lies in {runs} already: must be a folder of elsewhere")
    trained = read_json(folder / "trained.json")
    standing = {"steps": run.training.steps, "paper_setting": False, "standard_lr": False, "scores": []}
    collect([{**run.key(), **standing}], folder.resolve().parent)  # which checks trained.json and every table
    say_latents = _check_latents(folder, run, trained, Path(latents))
    left = _foreign_scores(folder, run, runs)
    found = [path.relative_to(folder) for pattern in FILES for path in sorted(folder.glob(pattern))]
    found = [file for file in found if file not in left]
    spec = (wanted or {}).get(run.name, run).to_json()
    fresh = not target.exists()
    try:
        with exclusive(target / "lock", wait=0):
            missing, lost = _compare(target, trained, found)
            if lost is None or replace:
                _put(folder, target, missing, spec, replace=lost is not None)
    except BaseException:
        if fresh:  # leave no empty folder
            with suppress(OSError):
                (target / "lock").unlink()
                target.rmdir()
        raise
    if lost and not replace:
        raise UserError(
            f"{folder}: {trained['status']} at step {trained['step']}, but the run is here already, {lost}: "
            f"must be given --replace to take its place"
        )
    if not missing:
        say(f"{run.name}: is here already, the same: nothing taken in")
        return
    say(f"{run.name}: {trained['status']}, step {trained['step']}, {len(missing)} files taken in{say_latents}")
    if wanted is not None and run.name not in wanted:
        say(f"{run.name}: is no run of this configuration, so no table or figure of it shows it")
    for file, reason in left.items():
        say(f"{run.name}: {file} left out, Snakemake scores anew: {reason}")
    if trained["status"] == "trained" and not any(file.parts[0] == "snapshots" for file in found):
        say(f"{run.name}: has no snapshots: nothing more can be sampled from it")


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def read_run(path: str | Path) -> RunSpec:
    """The run of a spec.json. UserError if it is not valid, or not the run that its name stands for here."""
    run = RunSpec.read(path)
    here, theirs = asdict(resolve(run.config)), asdict(run.fields)
    for field in sorted(here):
        if here[field] != theirs[field]:
            raise UserError(
                f"{path}: {field} of Config {run.config} is {theirs[field]!r}: must be {here[field]!r}, as it is "
                f"defined here"
            )
    return run


def _check_latents(folder: Path, run: RunSpec, trained: dict, latents: Path) -> str:
    """UserError if the run was trained on other latents than are here; a remark if there are none."""
    manifest = latents / run.data.folder_name / "manifest.json"
    if not manifest.exists():
        return (
            f"; its latents, {trained['latents'][:12]}, are not here to compare: before all else run `snakemake "
            f"--cores all {manifest}`, for a run whose latents come later is made anew"
        )
    fingerprint = read_json(manifest).get("fingerprint")
    if trained["latents"] != fingerprint:
        raise UserError(
            f"{folder}/trained.json: latents {trained['latents'][:12]}: must be those of {manifest}, "
            f"{str(fingerprint)[:12]}"
        )
    return ""


def _foreign_scores(folder: Path, run: RunSpec, runs: Path) -> dict[Path, str]:
    """Scores by other features or against another reference than those here: file within the folder, reason.

    UserError for a row that is not of the protocol that its folder is named after, or not of this run.
    """
    foreign, here = {}, None
    for path in sorted(folder.glob("samples/*/fid-*.csv")):
        for row in read_rows(path, "fid", run.name, protocol=path.parent.name).to_dict("records"):
            for axis, value in run.key().items():
                if _plain(row[axis]) != _plain(value):
                    raise UserError(f"{path}: {axis} is {row[axis]}: must be {value}, as in spec.json")
            protocol = _protocol_name(path, row)
            if protocol != path.parent.name:
                raise UserError(f"{path}: its row is of {protocol}: must be of what its folder is named after")
            here = _hashes_here(runs, run) if here is None else here
            for key in ("features_hash", "reference_hash"):
                ours = here.get((path.name, key), row[key])
                if ours != row[key]:
                    foreign[path.relative_to(folder)] = f"{key} is {row[key]}, here {ours}"
    return foreign


def _plain(value):
    with suppress(TypeError, ValueError):
        return float(value)
    return value


def _protocol_name(path: Path, row: dict) -> str:
    try:
        return Protocol(
            sampler=row["sampler"],
            sampling_steps=int(row["steps"]),
            guidance=float(row["guidance"]),
            count=int(row["count"]),
            ema_width=None if row["ema_width"] in ("", "none") else float(row["ema_width"]),
            step=int(row["step"]),
            sampling_seed=int(row["sampling_seed"]),
        ).name
    except ValueError as error:
        raise UserError(f"{path}: {error}: must be a score that `mpdit score` wrote") from None


def _hashes_here(runs: Path, run: RunSpec) -> dict:
    """(name of a score's file, features_hash or reference_hash): the hash, as runs here on the same data have it."""
    found = {}
    for spec in sorted(runs.glob("*/spec.json")):
        with suppress(UserError, KeyError, TypeError):  # what is damaged here is no measure
            if spec.parent.name == run.name or RunSpec.read(spec).data != run.data:
                continue
            for path in spec.parent.glob("samples/*/fid-*.csv"):
                with open(path, newline="") as file:
                    for row in csv.DictReader(file):
                        for key in ("features_hash", "reference_hash"):
                            found.setdefault((path.name, key), row[key])
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Taking in


def _compare(target: Path, trained: dict, found: list[Path]) -> tuple[list[Path], str | None]:
    """The files of `found` to take in, and what would be lost by it: the state of another training that is here."""
    outcome = target / "trained.json"
    if outcome.exists():
        ours = read_json(outcome)
        if ours == trained:
            return [file for file in found if not (target / file).exists()], None
        return found, f"{ours.get('status')} at step {ours.get('step')}, by another training"
    if (target / "training.csv").exists() or list(target.glob("checkpoints/*")):
        return found, "begun and not ended"
    return found, None


def _put(folder: Path, target: Path, files: list[Path], spec: dict, replace: bool) -> None:
    """Copy files beside the target, then move them in, spec.json first and scores last. Only under the lock."""
    stage = target.with_name(f".import-{target.name}")
    shutil.rmtree(stage, ignore_errors=True)  # of one that was killed
    try:
        for file in files:
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, stage / file)
            with open(stage / file, "rb+") as copy:
                os.fsync(copy.fileno())
        if Path("spec.json") in files and read_json(stage / "spec.json") != spec:
            write_json(stage / "spec.json", spec)  # to as many steps as are asked for here
        if replace:
            for path in target.iterdir():
                if path.name not in ("lock", "spec.json"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        now = time.time()
        for file in files:
            if file.name == "spec.json" and (target / file).exists():
                continue
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            os.utime(stage / file, (now, now + _age(file)))
            os.replace(stage / file, target / file)
        if Path("trained.json") in files:
            wanted = read_json(target / "spec.json")["training"]["steps"]
            done = read_json(target / "trained.json")
            longer = done["status"] == "trained" and done["step"] < wanted
            os.utime(target / "spec.json", (now, now + (-1 if longer else -3)))
        sync_folder(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _age(file: Path) -> int:
    """Seconds before now that a file is dated: none is older than what it is made from."""
    if file.name == "trained.json":
        return -2
    return 0 if file.name == "magnitudes.csv" or file.name.startswith("fid-") else -1
