"""What is known of a study's data before it is encoded, and what is assumed where nothing is known."""

from dataclasses import dataclass, replace
from pathlib import Path

from ..experiment.grid import Experiment
from ..experiment.records import Manifest
from ..experiment.run_files import MANIFEST
from ..system.errors import UserError
from .sizes import AutoencoderSize, autoencoder_size

COUNTED = ("mnist", "folder", "zip", "parquet")  # sources whose images are counted at once; a tar has to be scanned
ASSUMED_CLASSES = 1000


@dataclass(frozen=True)
class DataSummary:
    """The size of a study's data."""

    images: int | None  # that are trained on; None: not known
    classes: int
    autoencoder: AutoencoderSize
    encoded: bool
    notes: tuple[str, ...] = ()  # sentences on what is assumed
    heldout_images: int | None = 0  # that are not trained on; None: not known


def summarize_data(experiment: Experiment, results: Path, images: int | None = None) -> DataSummary:
    """The size of the data, from the manifest of its latents or else from the source and the autoencoder's config.

    `images` is the number in the source, where the caller knows it. Raises UserError for a manifest that cannot be
    read.
    """
    summary = _summarize(experiment, results, images)
    heldout, notes = _count_heldout(experiment, results, summary.classes)
    return replace(summary, heldout_images=heldout, notes=(*summary.notes, *notes))


def _summarize(experiment: Experiment, results: Path, images_in_source: int | None) -> DataSummary:
    data, notes, is_known = experiment.data, [], True
    if data.autoencoder is None:
        channels = 1 if data.source == "mnist" else 3
        size = AutoencoderSize((channels, data.resolution, data.resolution), posterior=False)
    else:
        size, is_known = autoencoder_size(data.autoencoder, data.resolution)
    manifest = results / "latents" / experiment.data_name / MANIFEST
    if manifest.exists():
        return _encoded(Manifest.read(manifest), size)
    if not is_known:
        notes.append(f"the configuration of {data.autoencoder} is not at hand: it is assumed to be an SD-VAE")
    images = classes = None
    if data.source in COUNTED:
        from ..data.sources import open_source

        try:
            source = open_source(data)
            images, classes = len(source), len(source.classes)
        except UserError as error:
            notes.append(str(error))
    withheld = data.holdout * (classes or ASSUMED_CLASSES) if isinstance(data.holdout, int) else 0
    if images_in_source is not None:
        images = max(images_in_source - withheld, 0)
    if images is None:
        notes.append("the number of images is not known (give it with --images): encoding and latents are left out")
    if classes is None:
        classes = ASSUMED_CLASSES
        notes.append(f"{ASSUMED_CLASSES:,} classes are assumed")
    return DataSummary(images, classes, size, False, tuple(notes))


def _count_heldout(experiment: Experiment, results: Path, classes: int) -> tuple[int | None, list[str]]:
    """The number of held-out images (None: not known), and sentences on what is assumed."""
    data = experiment.data
    if data.holdout is None or experiment.heldout_name is None:
        return 0, []
    manifest = results / "latents" / experiment.heldout_name / MANIFEST
    if manifest.exists():
        return Manifest.read(manifest).count, []
    if isinstance(data.holdout, int):
        return data.holdout * classes, []
    from ..data.holdout import heldout_data
    from ..data.sources import open_source

    try:
        other = heldout_data(data)
        if other.source in COUNTED:
            return len(open_source(other)), []
    except UserError as error:
        return None, [str(error)]
    return None, ["the number of held-out images is not known: their encoding and losses are left out"]


def _encoded(manifest: Manifest, size: AutoencoderSize) -> DataSummary:
    channels, height, width = manifest.shape
    encoded_size = AutoencoderSize((channels, height, width), manifest.posterior, size.encoding, size.decoding)
    images = manifest.count // (2 if manifest.flips == "both" else 1)
    return DataSummary(images, len(manifest.classes), encoded_size, True)
