"""Listing a study's pictures again, to tell whether they are those that its results were made from."""

from pathlib import Path

import numpy as np

from ..experiment.known_source import Finding, other_pictures, read_known, remember
from ..experiment.picture_inputs import PictureInput
from ..experiment.records import Manifest
from ..experiment.run_files import LABELS
from ..experiment.schema import Data
from .holdout import heldout_data
from .sources import PictureSource, open_source, other_data


def identify(data: Data, pictures: PictureInput, known_file: Path, manifest_file: Path) -> None:
    """List `pictures`, and record in `known_file` that they are where the configuration says.

    `data` is the section of the configuration. `manifest_file` is that of the latents of these pictures, if there are
    any. Raises UserError for other pictures than those that the name has stood for.
    """
    found = Finding.of(pictures.field, pictures.path)
    source = _open(data, pictures)
    if read_known(known_file) is None and manifest_file.exists():
        manifest = Manifest.read(manifest_file)
        if not _is_source_of(manifest, manifest_file.parent, source):
            expected = manifest.source.listing or manifest.source.fingerprint
            raise other_pictures(pictures.field, pictures.path, source.fingerprint, expected, manifest_file)
    remember(known_file, found, source.fingerprint)


def _open(data: Data, pictures: PictureInput) -> PictureSource:
    if pictures.kind == "data":
        return open_source(data)
    if pictures.kind == "heldout":
        return open_source(heldout_data(data))
    return open_source(other_data(data, pictures.path), labeled=False)


def _is_source_of(manifest: Manifest, folder: Path, source: PictureSource) -> bool:
    """Whether the latents in `folder` may have been made from `source`.

    Latents of earlier versions, which do not say of which listing they are, must have its classes and labels.
    """
    if manifest.source.listing is not None:
        return manifest.source.listing == source.fingerprint
    skipped, views = set(manifest.skipped), 2 if manifest.flips == "both" else 1
    used = np.array([name not in skipped for name in source.names]) if skipped else slice(None)
    labels = np.repeat(source.labels[used], views)
    return tuple(source.classes) == manifest.classes and np.array_equal(np.load(folder / LABELS), labels)
