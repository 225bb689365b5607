"""Draw images from a trained run.

In:  RUN_FOLDER (spec.json, trained.json, snapshots/) and the latents it was trained on, whose manifest scales and
     decodes. The weights are an EMA of any width that the snapshots carry, or the plain ones (`--ema-width none`).
Out: OUTPUT/samples.npz    arr_0, uint8 (N, H, W, 3), the layout that the ADM evaluator reads; labels, int64 (N,)
     OUTPUT/grid.png       one class a column; each picture starts from the same noise in every run
     OUTPUT/protocol.json  the run and all that decides the images
Image i has label i mod classes, and its noise is a function of (seed, i): the batch size changes nothing but speed.
A run that diverged gives an empty samples.npz and a grid.png that says so.
"""

import zipfile
from contextlib import contextmanager
from pathlib import Path

from ..system.console import Progress
from ..system.device import add_device_argument, choose_device
from ..system.errors import UserError
from ..system.files import read_json, replacing, write_json
from ..system.provenance import commit

GRID_COLUMNS, GRID_ROWS = 16, 10
PICTURE = 64  # pixels: smaller images are enlarged in the grid, by a whole factor, up to this or just below
GAP = 2  # pixels between pictures


def add_arguments(parser) -> None:
    parser.add_argument("run", metavar="RUN_FOLDER", type=Path, help="a run folder that `mpdit train` has finished")
    parser.add_argument("--latents", type=Path, required=True, help="the latents that the run was trained on")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--sampler", default="ddpm", help="ddpm (default), ddim or dpm_solver")
    parser.add_argument("--steps", type=int, default=250, help="sampling steps, 1 to 1000 (default 250)")
    parser.add_argument("--guidance", type=float, default=1.0, help="guidance weight; 1 (default) is no guidance")
    parser.add_argument("--count", type=int, default=10_000, help="number of images (default 10000)")
    parser.add_argument("--ema-width", default="0.05", help="relative width, such as 0.05 (default), or none")
    parser.add_argument("--step", type=int, help="training step of the weights (default: the last)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--batch-size", type=int, default=256, help="images drawn at once (default 256)")
    add_device_argument(parser)
    parser.add_argument("--precision", default="float32", help="of the model: float32 (default) or bfloat16")


def main(args) -> None:
    from ..model.samplers import check_protocol

    ema_width = _ema_width(args.ema_width)
    check_protocol(args.sampler, args.steps, args.guidance, args.count)
    if args.batch_size < 1:
        raise UserError(f"--batch-size: {args.batch_size}: must be 1 or more")
    if args.precision not in ("float32", "bfloat16"):
        raise UserError(f"--precision: {args.precision!r}: must be float32 or bfloat16")
    if not (args.run / "trained.json").is_file():
        raise UserError(f"{args.run}: no trained.json: must be a run folder that `mpdit train` has finished")
    spec, trained = read_json(args.run / "spec.json"), read_json(args.run / "trained.json")
    step = trained["step"] if args.step is None else args.step
    protocol = {
        **{axis: spec[axis] for axis in ("run", "model", "config", "modulation", "lr", "seed")},
        "data": spec["data"]["name"],
        "sampler": args.sampler,
        "steps": args.steps,
        "guidance": args.guidance,
        "count": args.count,
        "ema_width": ema_width,
        "step": step,
        "sampling_seed": args.seed,
        "precision": args.precision,
        "status": trained["status"],
        "commit": commit(),
    }
    if trained["status"] == "diverged":
        _write_diverged(args, trained["step"], protocol)
        return
    if not 1 <= step <= trained["step"]:
        raise UserError(f"--step: {step}: must be 1 to {trained['step']}, to which {args.run} was trained")
    protocol["ema_residual"] = _draw(args, spec, trained, ema_width, step)
    write_json(args.output / "protocol.json", protocol)


def _draw(args, spec: dict, trained: dict, ema_width: float | None, step: int) -> float:
    """Write samples.npz and grid.png; return the residual error of the EMA's reconstruction."""
    import torch

    from ..data.latents import Latents
    from ..model.samplers import balanced_labels, sample_batches

    latents = Latents(args.latents)
    if latents.fingerprint != trained["latents"]:
        found, right = latents.fingerprint[:12], trained["latents"][:12]
        raise UserError(f"{args.latents}: fingerprint {found}: must be {right}, which {args.run} was trained on")
    device = choose_device(args.device)
    model, residual = _load_model(args.run, spec, latents, ema_width, step, device)
    torch.set_float32_matmul_precision("high")  # TF32 where there is such a thing

    progress = Progress(f"{spec['run']}: {args.sampler} {args.steps}", args.count)
    labels = balanced_labels(args.count, latents.num_classes)
    batches = sample_batches(
        model,
        labels,
        latents.shape,
        sampler=args.sampler,
        steps=args.steps,
        guidance=args.guidance,
        seed=args.seed,
        num_classes=latents.num_classes,
        batch_size=args.batch_size,
        device=device,
        precision=args.precision,
        on_step=progress.update,
    )
    in_grid = {}
    with sample_archive(args.output / "samples.npz", labels.numpy()) as write:
        for whitened in batches:
            images = latents.decode(whitened).cpu().numpy()  # (B, H, W, 3) uint8
            first = write(images) - len(images)
            for i, image in enumerate(images, start=first):
                row, column = divmod(i, latents.num_classes)
                if row < GRID_ROWS and column < GRID_COLUMNS:
                    in_grid[row, column] = image.copy()
    with replacing(args.output / "grid.png") as part:
        draw_grid(in_grid).save(part)
    progress.finish()
    return residual


def _load_model(run: Path, spec: dict, latents, ema_width: float | None, step: int, device):
    """The run's model with the weights asked for, in evaluation mode, and the residual of their reconstruction."""
    from ..model.dit import model_of_run
    from ..training.ema import reconstruct

    model = model_of_run(spec, latents)
    weights, residual = reconstruct(run / "snapshots", ema_width, step)
    if weights.keys() != model.state_dict().keys():
        odd = sorted(weights.keys() ^ model.state_dict().keys())[0]
        raise UserError(f"{run}/snapshots: {odd} on one side only: must hold the parameters of {spec['model']}")
    model.load_state_dict(weights)
    return model.normalize_weights().eval().to(device), residual


def _ema_width(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise UserError(f"--ema-width: {text!r}: must be a relative width such as 0.05, or none") from None


def _write_diverged(args, step: int, protocol: dict) -> None:
    import numpy as np

    size = read_json(args.latents / "manifest.json")["resolution"]
    with sample_archive(args.output / "samples.npz", np.zeros(0, dtype=np.int64)) as write:
        write(np.zeros((0, size, size, 3), dtype=np.uint8))
    with replacing(args.output / "grid.png") as part:
        draw_text(f"diverged at step {step}").save(part)
    write_json(args.output / "protocol.json", {**protocol, "step": step, "ema_residual": None})


@contextmanager
def sample_archive(path: Path, labels):
    """Write `labels` (N,) and then images into an .npz, batch by batch, so that one batch is held in memory at most.

    Yields write(images uint8 (B, H, W, 3)) -> images written so far. All N have to come, in one shape.
    The same images give the same bytes: members carry no date.
    """
    from numpy.lib import format as npy

    written = 0
    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        with archive.open(zipfile.ZipInfo("labels.npy"), "w") as file:
            npy.write_array(file, labels)
        with archive.open(zipfile.ZipInfo("arr_0.npy"), "w", force_zip64=True) as file:

            def write(images) -> int:
                nonlocal written
                if written == 0:
                    header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), *images.shape[1:])}
                    npy.write_array_header_1_0(file, header)
                file.write(images.tobytes())
                written += len(images)
                return written

            yield write
        if written != len(labels):
            raise ValueError(f"{path}: {written} images for {len(labels)} labels")


def draw_grid(images: dict):
    """Images, by (row, column), uint8 (H, W, 3) -> one picture; small ones are enlarged pixel by pixel."""
    import numpy as np
    from PIL import Image

    rows, columns = (max(place[axis] for place in images) + 1 for axis in (0, 1))
    size = len(images[0, 0])
    factor = max(1, PICTURE // size)
    pitch = size * factor + GAP
    canvas = np.full((rows * pitch + GAP, columns * pitch + GAP, 3), 255, dtype=np.uint8)
    for (row, column), image in images.items():
        enlarged = image.repeat(factor, 0).repeat(factor, 1)
        y, x = GAP + row * pitch, GAP + column * pitch
        canvas[y : y + size * factor, x : x + size * factor] = enlarged
    return Image.fromarray(canvas)


def draw_text(text: str):
    """A small picture that holds one line of text."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(16)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("RGB", (round(right - left) + 32, round(bottom - top) + 32), "white")
    ImageDraw.Draw(picture).text((16 - left, 16 - top), text, fill="black", font=font)
    return picture
