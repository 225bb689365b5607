"""The held-out loss of a trained run: over its training, and with every EMA width of its final weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.latents import Latents
from ..experiment import run_files
from ..experiment.columns import HELDOUT, HELDOUT_IMAGES, HELDOUT_PARTS
from ..experiment.records import TrainedRun
from ..experiment.run_spec import RunSpec
from ..model.dit import model_of_run
from ..system.console import Progress
from ..system.device import choose_device
from ..system.errors import UserError
from ..system.files import write_csv
from ..training.kept_snapshots import KeptSnapshots
from .heldout import HeldoutLosses, heldout_losses
from .heldout_parts import Part, parts_of
from .tracing import evenly_spaced
from .trained_model import load_weights, open_latents

FEWEST_DRAWS = 32  # of timesteps and noises per image


@dataclass(frozen=True)
class Weights:
    """Which of a run's stored weights are measured, on which parts of the images."""

    step: int
    ema_width: float | None  # None: the plain weights
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """The losses of some weights on one part of the images."""

    step: int
    ema_width: float | None
    part: str
    losses: HeldoutLosses


def measure_run(
    run_folder: Path,
    latents_folder: Path,
    heldout_folder: Path,
    output: Path,
    *,
    ema_widths: Sequence[float | None] = (),
    draws: int = FEWEST_DRAWS,
    snapshots: int = 8,
    last_only: bool = False,
    parts: Sequence[str] = HELDOUT_PARTS,
    device: str = "auto",
) -> None:
    """Write the held-out losses of the run in `run_folder` to the CSV `output`, and the loss of each image of the
    reporting part at the last step to heldout_images.csv beside it, with nine significant digits. A run that diverged
    gives headers.

    Args:
        ema_widths: widths to measure at the last step, besides those tracked in training and the plain weights (None).
        draws: timesteps and noises per image.
        snapshots: the most snapshots to measure, evenly spaced, the last one included. Those before the last are
            measured in the first EMA width that was tracked, and not on the tuning part.
        last_only: measure the last step alone, and only in `ema_widths`.
        parts: those of HELDOUT_PARTS to measure.

    Raises UserError if the run is not trained, was trained on other latents, or has no snapshots that give these
    weights, and if the held-out latents do not belong to those trained on.
    """
    if draws < FEWEST_DRAWS:
        raise UserError(f"--draws: expected at least {FEWEST_DRAWS}, got {draws}")
    if snapshots < 1:
        raise UserError(f"--snapshots: expected at least 1, got {snapshots}")
    if last_only and not ema_widths:
        raise UserError("--ema-widths: missing; with --last-only only the widths named are measured")
    run, trained = RunSpec.read(run_folder / run_files.SPEC), TrainedRun.read(run_folder / run_files.TRAINED)
    measurements: list[Measurement] = []
    images: Mapping[str, Part] = {}
    fingerprint = ""
    if trained.status != "diverged":
        train, heldout = open_latents(latents_folder, trained, run_folder), Latents(heldout_folder)
        images, fingerprint = parts_of(train, heldout), heldout.fingerprint
        stored = KeptSnapshots(run_folder, run, trained)
        earlier, last = _steps(stored, 1 if last_only else snapshots)
        tracked = run.training.ema_widths
        widths = ema_widths if last_only else (*tracked, *ema_widths, None)
        weights = [Weights(step, tracked[0], tuple(part for part in parts if part != "tune")) for step in earlier]
        weights += [Weights(last, width, tuple(parts)) for width in dict.fromkeys(widths)]
        measurements = list(_measure(stored, train, weights, images, draws, choose_device(device)))
    reported = [item for item in measurements if item.part == "report" and item.step == measurements[-1].step]
    image_rows = (
        {"run": run.name, "ema_width": item.ema_width, "image": image, "loss": f"{loss:.9g}"}
        for item in reported
        for image, loss in zip(images[item.part].rows.tolist(), item.losses.images.tolist(), strict=True)
    )
    rows = ({"run": run.name, **_row(item), "draws": draws, "heldout": fingerprint} for item in measurements)
    write_csv(output.with_name(run_files.HELDOUT_IMAGES), HELDOUT_IMAGES.names, image_rows)
    write_csv(output, HELDOUT.names, rows)


def _steps(stored: KeptSnapshots, count: int) -> tuple[list[int], int]:
    """At most `count` evenly spaced steps of snapshots: those before the last one, and the last one."""
    width = stored.run.training.ema_widths[0]
    steps = evenly_spaced(stored.steps(width), count)
    if not steps:
        raise UserError(f"{stored.folder}: no snapshots of EMA width {width:g}; train the run again")
    return steps[:-1], steps[-1]


def _measure(
    stored: KeptSnapshots,
    train: Latents,
    weights: Sequence[Weights],
    images: Mapping[str, Part],
    draws: int,
    device: torch.device,
) -> Iterator[Measurement]:
    model = model_of_run(stored.run, train.shape, train.num_classes).to(device).eval()
    progress = Progress(stored.run.name, draws * sum(len(images[part]) for item in weights for part in item.parts))
    done = 0
    for item in weights:
        load_weights(model, stored, item.ema_width, item.step)
        for part in item.parts:
            yield Measurement(item.step, item.ema_width, part, heldout_losses(model, images[part], draws))
            done += draws * len(images[part])
            progress.update(done)
    progress.finish()


def _row(item: Measurement) -> dict[str, Any]:
    losses = {
        "loss": item.losses.mean,
        **{f"loss_q{number}": loss for number, loss in enumerate(item.losses.quarters, start=1)},
        "variational": item.losses.variational,
    }
    return {
        "step": item.step,
        "ema_width": item.ema_width,
        "part": item.part,
        "images": len(item.losses.images),
        **{name: f"{loss:.9g}" for name, loss in losses.items()},
    }
