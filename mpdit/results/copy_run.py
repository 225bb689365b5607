"""Copying a run folder from elsewhere into its place here, under the run's lock."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ..experiment import run_files
from ..experiment.records import TrainedRun
from ..experiment.run_spec import RunSpec
from ..system.errors import UserError
from ..system.files import read_json, sync_folder, write_json
from .foreign_files import ForeignFiles


@dataclass(frozen=True)
class Present:
    """What is here of a run that is imported."""

    missing: list[Path]  # files that are to be copied
    other_state: str | None  # of another training that is here and would be lost, in words


def compare(target: Path, trained: TrainedRun, files: list[Path]) -> Present:
    """What is in the folder `target` of the files of a run whose training has ended as `trained` says."""
    path = target / run_files.TRAINED
    if path.exists():
        try:
            ours = TrainedRun.read(path)
        except UserError:
            return Present(files, "with a trained.json that cannot be read")
        if ours == trained:
            return Present([file for file in files if not (target / file).exists()], None)
        return Present(files, f"{ours.status} at step {ours.step}, by another training")
    if (target / run_files.TRAINING_TABLE).exists() or list(target.glob(f"{run_files.CHECKPOINTS}/*")):
        return Present(files, "begun and not ended")
    return Present(files, None)


def copy_run(found: ForeignFiles, target: Path, files: list[Path], spec: RunSpec, replace: bool) -> None:
    """Copy files and their seals beside the target, then move them into it, spec.json first and scores last.

    Only under the lock.
    """
    stage = target.with_name(f".import-{target.name}")
    shutil.rmtree(stage, ignore_errors=True)  # left by an import that was killed
    try:
        for file in files:
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            for path in found.with_seal(file):
                _copy_file(found.folder / path, stage / path)
        if Path(run_files.SPEC) in files and read_json(stage / run_files.SPEC) != spec.to_json():
            write_json(stage / run_files.SPEC, spec.to_json(), sealed=False)  # with as many steps as are asked for here
        if replace:
            for path in target.iterdir():
                if path.name not in (run_files.LOCK, run_files.SPEC):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        now = time.time()
        for file in files:
            if file.name == run_files.SPEC and (target / file).exists():
                continue
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            os.utime(stage / file, (now, now + _age(file)))
            for path in found.with_seal(file):
                os.replace(stage / path, target / path)
        if Path(run_files.TRAINED) in files:
            asked, trained = RunSpec.read(target / run_files.SPEC), TrainedRun.read(target / run_files.TRAINED)
            continues = trained.status == "trained" and trained.step < asked.training.steps
            os.utime(target / run_files.SPEC, (now, now + (-1 if continues else -3)))
        sync_folder(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _copy_file(source: Path, goal: Path) -> None:
    """Copy a file to the disk, unless it has become a link since it was listed."""
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as original, open(goal, "xb") as copy:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _age(file: Path) -> int:
    """Seconds relative to now of a file's modification time: no file is older than what it is made from."""
    if file.name == run_files.TRAINED:
        return -2
    last = (run_files.MAGNITUDES, run_files.HELDOUT, run_files.HELDOUT_IMAGES)
    return 0 if file.name in last or file.name.startswith("fid-") else -1
