"""The files of a run folder that was copied here from another machine: which are of use, whether they are whole.

Nothing in such a folder is followed out of it: a link in place of a file or a folder is refused, since here it may lead
anywhere. Files are compared with their seals; those of version 0.1 have none and are accepted, with a note.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..experiment import run_files
from ..experiment.records import TrainedRun
from ..experiment.run_spec import RunSpec
from ..experiment.snapshot_files import list_snapshots, other_model, stored_snapshots
from ..system import seals
from ..system.errors import UserError, one_line

SAMPLE_FILES = (run_files.SAMPLE_ARRAYS, run_files.SAMPLE_GRID, run_files.SAMPLE_RECORD)
SCORES = f"{run_files.SAMPLES}/*/fid-*.csv"
FILES = (  # in the order of copying
    run_files.SPEC, run_files.MODEL_CONFIG, run_files.MODEL_WEIGHTS, run_files.TRAINING_TABLE, run_files.TRAIN_LOG,
    f"{run_files.CHECKPOINTS}/step-*.safetensors", f"{run_files.SNAPSHOTS}/step-*.safetensors",
    *(f"{run_files.SAMPLES}/*/{name}" for name in SAMPLE_FILES),
    run_files.TRAINED, run_files.MAGNITUDES, run_files.HELDOUT, run_files.HELDOUT_IMAGES, SCORES,
)  # fmt: skip
FOLDERS = (run_files.CHECKPOINTS, run_files.SNAPSHOTS, run_files.SAMPLES, f"{run_files.SAMPLES}/*")
MADE_ANEW = (Path(run_files.LOCK), Path(run_files.OUTCOME))
WITHOUT_SEAL = (run_files.SPEC, run_files.TRAIN_LOG)  # a spec is checked by its name, a log decides nothing
REMEDY = "copy it again from where the run was trained"
NAMED = 5  # files that a message names


@dataclass(frozen=True)
class ForeignFiles:
    """What is in a run folder; paths are relative to it."""

    folder: Path
    usable: tuple[Path, ...]  # in the order of copying
    seals: frozenset[Path]  # hidden files beside them
    strays: tuple[Path, ...]  # what no run has

    @property
    def tables(self) -> list[Path]:
        """Those that are small and say what the others are."""
        return [path for path in self.usable if path.suffix in (".json", ".csv")]

    @property
    def scores(self) -> list[Path]:
        return [path for path in self.usable if _matches(path, SCORES)]

    def with_seal(self, path: Path) -> list[Path]:
        """The hidden file beside it that seals it, if there is one, and the file itself."""
        seal = path.with_name(seals.seal_file(path).name)
        return [seal, path] if seal in self.seals else [path]


def list_files(folder: Path) -> ForeignFiles:
    """The files of a run folder. Raises UserError where it is no folder, or a link is in place of a file of a run."""
    usable: list[tuple[int, Path]] = []
    hidden: set[Path] = set()
    strays: list[Path] = []
    for path, mode in _scan(folder):
        place = next((index for index, pattern in enumerate(FILES) if _matches(path, pattern)), None)
        is_folder = any(_matches(path, pattern) for pattern in FOLDERS)
        is_hidden = path.name.startswith(".")
        is_seal = is_hidden and path.suffix == ".seal"
        if stat.S_ISLNK(mode) and (is_folder or is_seal or place is not None):
            raise UserError(f"{folder}: {one_line(str(path))}: a link; expected a copy (rsync --copy-links)")
        if not stat.S_ISREG(mode) and (is_seal or place is not None):
            raise UserError(f"{folder}: {one_line(str(path))}: not a regular file; expected a copy of one")
        if place is not None:
            usable.append((place, path))
        elif is_seal:
            hidden.add(path)
        elif not is_hidden and not (is_folder and stat.S_ISDIR(mode)) and path not in MADE_ANEW:
            strays.append(path)
    return ForeignFiles(folder, tuple(path for _, path in sorted(usable)), frozenset(hidden), tuple(sorted(strays)))


def _scan(folder: Path) -> Iterator[tuple[Path, int]]:
    """Everything in a run folder and in the folders that runs have, with its mode, that of links themselves."""
    waiting = [Path()]
    while waiting:
        inner = waiting.pop()
        try:
            for name in os.listdir(folder / inner):
                path = inner / name
                mode = os.lstat(folder / path).st_mode
                if stat.S_ISDIR(mode) and any(_matches(path, pattern) for pattern in FOLDERS):
                    waiting.append(path)
                yield path, mode
        except NotADirectoryError:
            raise UserError(f"{folder}: not a folder; expected one such as results/runs/RUN") from None
        except OSError as error:
            raise UserError(f"{folder / inner}: {error.strerror}; expected a folder such as results/runs/RUN") from None


def _matches(path: Path, pattern: str) -> bool:
    parts = pattern.split("/")
    return len(parts) == len(path.parts) and all(map(fnmatchcase, path.parts, parts))


def require_whole(files: ForeignFiles, paths: Iterable[Path]) -> None:
    """Raise UserError for the first of the files that is not as it was written; those without seals are noted."""
    for path in paths:
        inspection = seals.inspect(files.folder / path)
        if inspection.damage is not None:
            raise seals.damaged(files.folder / path, inspection.damage, REMEDY)
        if not inspection.sealed and str(path) not in WITHOUT_SEAL:
            seals.note_unsealed(files.folder / path)


def require_own_snapshots(files: ForeignFiles, run: RunSpec) -> None:
    """Raise UserError for a whole snapshot that is of another run, or of another step or width than its name says."""
    for snapshot in list_snapshots(files.folder / run_files.SNAPSHOTS):
        problem = other_model(snapshot, run.name)
        if problem is not None:
            raise UserError(f"{snapshot.path}: {problem}; {REMEDY}")


def require_complete(files: ForeignFiles, run: RunSpec, trained: TrainedRun) -> None:
    """Raise UserError, which names what is missing, for a folder that was copied in part or while it was trained.

    Snapshots, and the samples of a protocol, may be left behind, but not some of them. What has a seal must be there.
    """
    there = set(files.usable)
    expected = {seal.with_name(seal.name[1:].removesuffix(".seal")) for seal in files.seals}
    expected = {path for path in expected if any(_matches(path, pattern) for pattern in FILES)}
    expected.add(Path(run_files.TRAINING_TABLE))
    model = {Path(run_files.MODEL_CONFIG), Path(run_files.MODEL_WEIGHTS)}
    sets = [model, *({folder / name for name in SAMPLE_FILES} for folder in {path.parent for path in there})]
    for members in sets:
        if members & there:
            expected |= members
    expected |= _expected_snapshots(files, run, trained)
    require_there(files, expected)


def require_there(files: ForeignFiles, expected: Iterable[Path]) -> None:
    """Raise UserError for files of a run that are missing."""
    missing = sorted(set(expected) - set(files.usable))
    if missing:
        raise UserError(
            f"{files.folder}: not complete: no {named(missing)}; copy it again, once its training has ended"
        )


def named(paths: Sequence[Path]) -> str:
    """Files in words: the first few by name, the others by number."""
    others = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{', '.join(one_line(str(path)) for path in paths[:NAMED])}{others}"


def _expected_snapshots(files: ForeignFiles, run: RunSpec, trained: TrainedRun) -> set[Path]:
    """The snapshots that a run must have which has some."""
    if not any(path.parts[0] == run_files.SNAPSHOTS for path in files.usable):
        return set()
    return {snapshot.path.relative_to(files.folder) for snapshot in stored_snapshots(files.folder, run, trained)}
