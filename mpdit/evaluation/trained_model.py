"""The model of a trained run, with the weights of one EMA width and training step, and the latents behind it."""

from pathlib import Path

import torch

from ..data.latents import Latents
from ..experiment.records import TrainedRun
from ..model.dit import DiT, model_of_run
from ..system.errors import UserError
from ..training.kept_snapshots import KeptSnapshots


def open_latents(folder: Path, trained: TrainedRun, run_folder: Path) -> Latents:
    """The latents in `folder`. Raises UserError unless they are those that the run was trained on."""
    latents = Latents(folder)
    if latents.fingerprint != trained.latents:
        raise UserError(
            f"{folder}: latents {latents.fingerprint[:12]}: must be those that {run_folder} was trained on, "
            f"{trained.latents[:12]}"
        )
    return latents


def load_trained_model(
    snapshots: KeptSnapshots, latents: Latents, ema_width: float | None, step: int, device: torch.device
) -> tuple[DiT, float]:
    """The model of a run in evaluation mode on `device`, and the residual of its weights' reconstruction.

    See `load_weights`, which also raises the errors.
    """
    model = model_of_run(snapshots.run, latents.shape, latents.num_classes)
    residual = load_weights(model, snapshots, ema_width, step)
    return model.eval().to(device), residual


def load_weights(model: DiT, snapshots: KeptSnapshots, ema_width: float | None, step: int) -> float:
    """Replace the weights of `model` by the average of relative width `ema_width` (None: plain) at `step`.

    Rows of forced weights are put back on the unit sphere. Returns the residual of the reconstruction (see
    `training.snapshots.reconstruct`). Raises UserError if the snapshots cannot give these weights or are of another
    model.
    """
    residual = load_stored_weights(model, snapshots, ema_width, step)
    model.normalize_weights()
    return residual


def load_stored_weights(model: DiT, snapshots: KeptSnapshots, ema_width: float | None, step: int) -> float:
    """`load_weights` without normalization: rows are as the snapshots hold them."""
    weights, residual = snapshots.weights(ema_width, step)
    expected = model.state_dict().keys()
    if weights.keys() != expected:
        missing, unknown = sorted(expected - weights.keys()), sorted(weights.keys() - expected)
        problem = f"missing parameter {missing[0]!r}" if missing else f"unknown parameter {unknown[0]!r}"
        raise UserError(f"{snapshots.folder}: {problem}: must hold the parameters of the run's model")
    model.load_state_dict(weights)
    return residual
