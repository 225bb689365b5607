"""Whether what a study is made from is what its results were made from: pictures, latents, weights.

The workflow asks before it runs anything. Only paths, sizes and times of pictures are looked at; where these are not as
they were, the pictures have to be listed again (`to_list_again`), which `mpdit identify` does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..experiment.grid import Experiment
from ..experiment.known_source import KnownSource, path_state, read_known
from ..experiment.picture_inputs import PictureInput, missing_files, picture_inputs
from ..experiment.records import Manifest, TrainedRun
from ..experiment.run_files import MANIFEST

HOW_TO = "see docs/how-to/own-pictures.md"


def known_file(results: Path, name: str) -> Path:
    """The file that says which pictures a name stands for."""
    return results / "sources" / f"{name}.json"


def manifest_file(results: Path, name: str) -> Path:
    """The manifest of the latents of this name."""
    return results / "latents" / name / MANIFEST


def source_problems(
    experiment: Experiment, results: Path, finished: Mapping[str, TrainedRun], needs_pictures: bool = True
) -> Iterator[str]:
    """One line for each thing that cannot be what the results in the folder `results` were made from.

    `finished` are the outcomes of runs that have ended, by name. Without `needs_pictures`, pictures that nothing has
    been made from yet may be missing.
    """
    yield from missing_files(experiment)
    for pictures in picture_inputs(experiment):
        known = read_known(known_file(results, pictures.name))
        if path_state(pictures.path) is None:
            yield from _missing_pictures(pictures, known, manifest_file(results, pictures.name), needs_pictures)
    withheld = isinstance(experiment.data.holdout, int)  # from the pictures of `data.path`
    for name in filter(None, (experiment.data_name, experiment.heldout_name)):
        known = read_known(known_file(results, experiment.data_name if withheld else name))
        path = manifest_file(results, name)
        if path.exists():
            trained = finished if name == experiment.data_name else {}
            yield from _foreign_latents(Manifest.read(path), path, known, trained)


def _missing_pictures(
    pictures: PictureInput, known: KnownSource | None, latents: Path, needs_pictures: bool
) -> Iterator[str]:
    """A line, unless nothing needs the pictures any more because latents of theirs are here."""
    line = f"{pictures.field}: {pictures.path}: no such file or folder"
    if pictures.kind == "reference":
        yield f"{line}; expected other real images or their statistics"
    elif latents.exists():
        source = Manifest.read(latents).source.path
        was_here = pictures.path in known.states if known else Path(pictures.path).name == source
        if not was_here:
            before = ", ".join(known.states) if known and known.states else source
            yield f"{line}; the latents in {latents.parent} were made from {before}"
    elif needs_pictures:
        yield f"{line}; expected the pictures"


def _foreign_latents(
    manifest: Manifest, path: Path, known: KnownSource | None, finished: Mapping[str, TrainedRun]
) -> Iterator[str]:
    """A line where latents are of other pictures than their name stands for, or not those that a run was trained on."""
    listing = manifest.source.listing
    if known is not None and listing is not None and listing != known.fingerprint:
        yield (
            f"{path}: latents of other pictures ({listing[:12]}) than those that results here were made from "
            f"({known.fingerprint[:12]}); {HOW_TO}"
        )
    for name, trained in finished.items():
        if trained.latents != manifest.fingerprint:
            yield (
                f"{path}: latents {manifest.fingerprint[:12]}, but run {name} was trained on {trained.latents[:12]}: "
                f"these must be the same; {HOW_TO}"
            )
            break


def to_list_again(experiment: Experiment, results: Path) -> list[PictureInput]:
    """The pictures that are not in a state in which they are known, although results were made from what they were."""
    changed = []
    for pictures in picture_inputs(experiment):
        state, known = path_state(pictures.path), read_known(known_file(results, pictures.name))
        is_known = known is not None and known.states.get(pictures.path) == state
        was_used = known is not None or manifest_file(results, pictures.name).exists()
        if state is not None and was_used and not is_known:
            changed.append(pictures)
    return changed
