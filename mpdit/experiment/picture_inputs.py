"""The files that a configuration names: pictures, statistics, weights and an autoencoder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .checks import STATISTICS
from .grid import Experiment

Kind = Literal["data", "heldout", "reference"]


@dataclass(frozen=True)
class PictureInput:
    """Pictures that a configuration names, or statistics of pictures."""

    kind: Kind
    name: str  # of results/sources/<name>.json, and of what is made from them: latents, references
    field: str  # of the configuration
    path: str

    @property
    def is_statistics(self) -> bool:
        return self.kind == "reference" and Path(self.path).suffix in STATISTICS


def picture_inputs(experiment: Experiment) -> list[PictureInput]:
    """All pictures of a study that are read from a path, those to train on first."""
    data, reference, inputs = experiment.data, experiment.scoring.reference, []
    if data.path is not None:
        inputs.append(PictureInput("data", experiment.data_name, "data.path", data.path))
    if isinstance(data.holdout, str) and experiment.heldout_name is not None:
        inputs.append(PictureInput("heldout", experiment.heldout_name, "data.holdout", data.holdout))
    if reference is not None:
        inputs.append(PictureInput("reference", experiment.reference_name, "scoring.reference", reference))
    return inputs


def missing_files(experiment: Experiment) -> Iterator[str]:
    """One line for each file beside pictures that is not where the configuration says: weights and an autoencoder.

    A hub's autoencoder is named by its owner and its name; any other path must be a folder here.
    """
    weights, autoencoder = experiment.scoring.weights, experiment.data.autoencoder
    if weights is not None and not os.path.isfile(weights):
        yield f"scoring.weights: {weights}: no such file; expected torch-fidelity's weights of Inception"
    is_path = autoencoder is not None and (autoencoder.startswith((".", "/", "~")) or autoencoder.count("/") > 1)
    if autoencoder is not None and is_path and not os.path.isdir(autoencoder):
        yield f"data.autoencoder: {autoencoder}: no such folder; expected one, or the id of a hub repository"
