"""Magnitudes of a run's activations and weights (paper, Definition 1), at initialization and at its snapshots.

Every run is shown the same images with the same noise: images of its latents, evenly spaced, at the given timesteps.
`model.magnitudes` says which blocks and sites there are.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..data.latents import Latents
from ..experiment import run_files
from ..experiment.columns import MAGNITUDES
from ..experiment.records import TrainedRun
from ..experiment.run_spec import RunSpec
from ..experiment.schema import LARGEST_STEP
from ..model.diffusion import Diffusion
from ..model.dit import DiT, model_of_run
from ..model.magnitudes import correlated_latents, gains, probes, weight_magnitudes
from ..system.device import choose_device
from ..system.errors import UserError
from ..system.files import write_csv
from ..system.seeds import generator
from ..training.kept_snapshots import KeptSnapshots
from .trained_model import load_stored_weights, open_latents

CORRELATIONS = (0.0, 0.5, 0.9, 0.99)  # of neighboring values of synthetic latents
BATCH_SIZE = 64


@dataclass(frozen=True)
class TracedMagnitude:
    """One magnitude of one model. What does not apply is None: no timestep for weights, no width at initialization."""

    kind: str  # activation | angle | weight | gain | correlated
    block: int
    site: str
    magnitude: float
    timestep: int | None = None
    correlation: float | None = None
    step: int = 0  # of training; 0: initialization
    ema_width: float | None = None


def trace(
    run_folder: Path,
    latents_folder: Path,
    output: Path,
    *,
    images: int,
    timesteps: Sequence[int],
    snapshots: int,
    device: str = "auto",
) -> None:
    """Write the magnitudes of the run in `run_folder`, with seven significant digits, to the CSV `output`.

    They are those at initialization and at snapshots of the run's first EMA width, and the norms of the plain weights
    at the last step. Norms are of rows as stored: an average of unit rows is shorter than 1, and only the model that
    activations are measured of is normalized. A run that diverged gives a header.

    Args:
        images: the number of images shown.
        timesteps: the noise levels, each from 0 to 999.
        snapshots: the most snapshots to measure; they are evenly spaced and the last one is always included.

    Raises UserError if the run is not trained, was trained on other latents, or has no snapshots.
    """
    if images < 1:
        raise UserError(f"--images: {images}: must be at least 1")
    if snapshots < 1:
        raise UserError(f"--snapshots: {snapshots}: must be at least 1")
    if not all(0 <= timestep <= LARGEST_STEP for timestep in timesteps):
        raise UserError(f"--timesteps: {' '.join(map(str, timesteps))}: must be from 0 to {LARGEST_STEP}")
    run, trained = RunSpec.read(run_folder / run_files.SPEC), TrainedRun.read(run_folder / run_files.TRAINED)
    magnitudes = []
    if trained.status != "diverged":
        latents = open_latents(latents_folder, trained, run_folder)
        stored = KeptSnapshots(run_folder, run, trained)
        magnitudes = _measure_run(stored, latents, images, timesteps, snapshots, choose_device(device))
    rows = ({"run": run.name, **asdict(item), "magnitude": f"{item.magnitude:.7g}"} for item in magnitudes)
    write_csv(output, MAGNITUDES.names, rows)


def _measure_run(
    stored: KeptSnapshots,
    latents: Latents,
    images: int,
    timesteps: Sequence[int],
    snapshots: int,
    device: torch.device,
) -> list[TracedMagnitude]:
    width = stored.run.training.ema_widths[0]
    steps = evenly_spaced(stored.steps(width), snapshots)
    if not steps:
        raise UserError(f"{stored.folder}: no snapshots of EMA width {width:g}; train the run again")
    model = model_of_run(stored.run, latents.shape, latents.num_classes).to(device).eval()
    batches = _batches(latents, images, device)
    magnitudes = _measure(model, batches, timesteps) + _measure_correlated(model, images, timesteps)
    magnitudes += _weights(model) + _gains(model)
    for step in steps:
        load_stored_weights(model, stored, width, step)
        measured = _weights(model) + _gains(model)
        model.normalize_weights()
        measured += _measure(model, batches, timesteps)
        if step == steps[-1]:
            measured += _measure_correlated(model, images, timesteps)
        magnitudes += [replace(magnitude, step=step, ema_width=width) for magnitude in measured]
    load_stored_weights(model, stored, None, steps[-1])
    return magnitudes + [replace(magnitude, step=steps[-1]) for magnitude in _weights(model)]


def evenly_spaced(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of `steps`, evenly spaced by position; the last one is always included."""
    count = min(count, len(steps))
    return [steps[(i + 1) * len(steps) // count - 1] for i in range(count)]


def _batches(latents: Latents, images: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Batches of up to `images` evenly spaced rows: whitened latents (B, C, H, W) and labels (B,)."""
    indices = torch.linspace(0, latents.count - 1, min(images, latents.count)).round().long()
    random = generator("trace", "posterior")
    return [latents.batch(part, random, device) for part in indices.split(BATCH_SIZE)]


def _measure(model: DiT, batches: Sequence[tuple[Tensor, Tensor]], timesteps: Sequence[int]) -> list[TracedMagnitude]:
    """Activations and angles by timestep of a model as it is."""
    rows, diffusion = [], Diffusion().to(batches[0][0].device)
    with torch.inference_mode(), probes(model) as magnitudes:
        for timestep in timesteps:
            random = generator("trace", "noise", timestep)
            for x0, labels in batches:
                noise = torch.randn(x0.shape, generator=random).to(x0.device)
                t = torch.full_like(labels, timestep)
                model(diffusion.add_noise(x0, noise, t), t, labels)
            for (block, site), value in magnitudes.pop_all().items():
                kind = "angle" if site.endswith("_angle") else "activation"
                rows.append(TracedMagnitude(kind, block, site, value, timestep))
    return rows


def _weights(model: DiT) -> list[TracedMagnitude]:
    return [TracedMagnitude("weight", block, site, value) for (block, site), value in weight_magnitudes(model).items()]


def _gains(model: DiT) -> list[TracedMagnitude]:
    return [TracedMagnitude("gain", block, name, value) for (block, name), value in gains(model).items()]


def _measure_correlated(model: DiT, images: int, timesteps: Sequence[int]) -> list[TracedMagnitude]:
    """Activations on normal latents of magnitude 1 whose neighboring values have each of CORRELATIONS."""
    device, rows = next(model.parameters()).device, []
    shape = (min(images, BATCH_SIZE), model.in_channels, model.input_size, model.input_size)
    labels = torch.arange(shape[0], device=device) % model.num_classes
    with torch.inference_mode(), probes(model) as magnitudes:
        for correlation in CORRELATIONS:
            for timestep in timesteps:
                x = correlated_latents(shape, correlation, generator("trace", "correlated", timestep)).to(device)
                model(x, torch.full_like(labels, timestep), labels)
                rows += [
                    TracedMagnitude("correlated", block, site, value, timestep, correlation)
                    for (block, site), value in magnitudes.pop_all().items()
                    if not site.endswith("_angle")
                ]
    return rows
