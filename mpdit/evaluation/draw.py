"""Draw the images of a trained run under a sampling protocol, into a folder of samples.

    samples.npz    images and labels, see `sample_archive`
    grid.png       the first images, one class per column
    protocol.json  the run and everything that decides the images

Image i has the label i mod number of classes, and its noise is a function of (sampling seed, i): the batch size changes
only the speed, and image i starts from the same noise in every run.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..data.latents import Latents
from ..experiment import run_files
from ..experiment.records import Manifest, SampleRecord, TrainedRun
from ..experiment.run_spec import Protocol, RunSpec
from ..model.samplers import balanced_labels, check_protocol, sample_batches
from ..system.console import Progress
from ..system.device import choose_device
from ..system.errors import UserError
from ..system.files import replacing, write_json
from ..system.provenance import commit
from ..training.kept_snapshots import KeptSnapshots
from .image_grid import image_grid, position_in_grid, text_picture
from .sample_archive import sample_writer
from .trained_model import load_trained_model, open_latents

PRECISIONS = ("float32", "bfloat16")


def draw(
    run_folder: Path,
    latents_folder: Path,
    output: Path,
    protocol: Protocol,
    *,
    batch_size: int = 256,
    device: str = "auto",
    precision: str = "float32",
) -> None:
    """Write samples.npz, grid.png and protocol.json of the run in `run_folder` to the folder `output`.

    A run that diverged gets an empty samples.npz and a grid.png that says so. Raises UserError for a protocol that is
    impossible or that the run's snapshots cannot satisfy, and for latents that the run was not trained on.
    """
    check_protocol(protocol.sampler, protocol.sampling_steps, protocol.guidance, protocol.count)
    if batch_size < 1:
        raise UserError(f"--batch-size: {batch_size}: must be at least 1")
    if precision not in PRECISIONS:
        raise UserError(f"--precision: {precision!r}: must be one of {', '.join(PRECISIONS)}")
    run, trained = RunSpec.read(run_folder / run_files.SPEC), TrainedRun.read(run_folder / run_files.TRAINED)
    record = SampleRecord(
        **run.key(),
        sampler=protocol.sampler,
        steps=protocol.sampling_steps,
        guidance=protocol.guidance,
        count=protocol.count,
        ema_width=protocol.ema_width,
        step=protocol.step,
        sampling_seed=protocol.sampling_seed,
        precision=precision,
        status=trained.status,
        commit=commit(),
    )
    if trained.status == "diverged":
        record = replace(record, step=trained.step)
        _forget(output)
        _write_diverged(output, Manifest.read(latents_folder / run_files.MANIFEST).resolution, trained.step)
    else:
        if not 1 <= protocol.step <= trained.step:
            raise UserError(f"--step: {protocol.step}: must be 1 to {trained.step}, the last step of {run_folder}")
        latents = open_latents(latents_folder, trained, run_folder)
        snapshots = KeptSnapshots(run_folder, run, trained)
        model, residual = load_trained_model(
            snapshots, latents, protocol.ema_width, protocol.step, choose_device(device)
        )
        record = replace(record, ema_residual=residual)
        _forget(output)
        _write_images(output, model, latents, protocol, run.name, batch_size, precision)
    write_json(output / run_files.SAMPLE_RECORD, record.to_json())


def _forget(output: Path) -> None:
    """Remove the record of earlier images, so that it never describes those that are written now."""
    (output / run_files.SAMPLE_RECORD).unlink(missing_ok=True)


def _write_images(
    output: Path,
    model: torch.nn.Module,
    latents: Latents,
    protocol: Protocol,
    run: str,
    batch_size: int,
    precision: str,
) -> None:
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    progress = Progress(f"{run}: {protocol.sampler} {protocol.sampling_steps}", protocol.count)
    labels = balanced_labels(protocol.count, latents.num_classes)
    batches = sample_batches(
        model,
        labels,
        latents.shape,
        sampler=protocol.sampler,
        steps=protocol.sampling_steps,
        guidance=protocol.guidance,
        seed=protocol.sampling_seed,
        num_classes=latents.num_classes,
        batch_size=batch_size,
        device=next(model.parameters()).device,
        precision=precision,
        on_step=progress.update,
    )
    in_grid = {}
    with sample_writer(output / run_files.SAMPLE_ARRAYS, labels.numpy()) as append:
        for whitened in batches:
            images = latents.decode(whitened).cpu().numpy()  # (B, H, W, 3) uint8
            first = append(images) - len(images)
            for index, image in enumerate(images, start=first):
                position = position_in_grid(index, latents.num_classes)
                if position is not None:
                    in_grid[position] = image.copy()
    with replacing(output / run_files.SAMPLE_GRID) as part:
        image_grid(in_grid).save(part)
    progress.finish()


def _write_diverged(output: Path, resolution: int, step: int) -> None:
    with sample_writer(output / run_files.SAMPLE_ARRAYS, np.zeros(0, dtype=np.int64)) as append:
        append(np.zeros((0, resolution, resolution, 3), dtype=np.uint8))
    with replacing(output / run_files.SAMPLE_GRID) as part:
        text_picture(f"diverged at step {step}").save(part)
