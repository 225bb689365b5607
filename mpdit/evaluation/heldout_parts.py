"""The parts of the images on which the held-out loss is measured.

    tune    half of the held-out images, which chooses learning rates and EMA widths
    report  the other half, which decides claims
    train   as many images that were trained on, of the same classes as the reporting part

Within each class every other held-out image is in the tuning part, so both parts have every class equally often.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.class_sampling import evenly_spaced_in_class, ranks_in_class
from ..data.latents import Latents, to_raw
from ..system.errors import UserError


@dataclass(frozen=True)
class Part:
    """N images, and which timesteps and noises each of them is shown with."""

    latents: Latents
    rows: NDArray[np.int64]  # (N,) of the latents
    draw_keys: NDArray[np.int64]  # (N,) rows of the held-out latents, which decide timesteps and noises
    whitening: tuple[Tensor, Tensor]  # of the training latents: (offset, scale), each (C, 1, 1)

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, indices: slice, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Whitened images (B, C, H, W) float32 and labels (B,) int64. Of a posterior the mean is taken."""
        rows = self.rows[indices]
        offset, scale = self.whitening
        whitened = (to_raw(torch.from_numpy(self.latents.mean[rows])) - offset) / scale
        return whitened.to(device), torch.from_numpy(self.latents.labels[rows]).to(device)


def parts_of(train: Latents, heldout: Latents) -> Mapping[str, Part]:
    """The three parts, by name, of held-out latents and of the latents that are trained on.

    Image k of the `train` part has the class, the timesteps and the noises of image k of the `report` part, which
    leaves less to chance in the difference of their losses. Raises UserError where the two folders do not belong
    together, or a part would be empty.
    """
    _check(train, heldout)
    labels = np.array(heldout.labels)
    tunes = (ranks_in_class(labels) + labels) % 2 == 0  # classes with an odd number favor one part in turn
    tune, report = np.flatnonzero(tunes), np.flatnonzero(~tunes)
    if not (len(tune) and len(report)):
        raise UserError(f"{heldout.folder}: too few held-out images, {len(labels)}; expected at least two per class")
    rows, matches = _training_rows(train, labels, report)
    whitening = train.whitening()
    return {
        "tune": Part(heldout, tune, tune, whitening),
        "report": Part(heldout, report, report, whitening),
        "train": Part(train, rows, matches, whitening),
    }


def _training_rows(
    train: Latents, labels: NDArray[np.int64], report: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of training images, evenly spaced within each class, and the held-out images of `report` that they match."""
    copies = 2 if train.manifest.flips == "both" else 1  # mirror images are left out: held-out images have none
    pictures = np.array(train.labels[::copies])
    classes = train.num_classes
    counts = np.minimum(np.bincount(labels[report], minlength=classes), np.bincount(pictures, minlength=classes))
    chosen = evenly_spaced_in_class(pictures, counts)
    by_class = chosen[np.argsort(pictures[chosen], kind="stable")]
    matches = report[np.argsort(labels[report], kind="stable")]
    matches = matches[ranks_in_class(labels[matches]) < counts[labels[matches]]]
    order = np.argsort(matches)
    return by_class[order] * copies, matches[order]


def _check(train: Latents, heldout: Latents) -> None:
    if train.fingerprint == heldout.fingerprint:
        raise UserError(f"{heldout.folder}: these images were trained on; expected held-out ones")
    ours, theirs = train.manifest, heldout.manifest
    for field in ("shape", "classes", "resolution", "filter", "crop", "dtype"):
        if getattr(ours, field) != getattr(theirs, field):
            raise UserError(
                f"{heldout.folder}: {field} is {_short(getattr(theirs, field))}, but {train.folder} has "
                f"{_short(getattr(ours, field))}; encode both from one configuration"
            )
    if (ours.autoencoder and ours.autoencoder.hash) != (theirs.autoencoder and theirs.autoencoder.hash):
        raise UserError(f"{heldout.folder}: its autoencoder is another than that of {train.folder}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
