"""A trained run -> magnitudes of activations and weights.

In:  RUN_FOLDER with spec.json, trained.json and snapshots/, as `mpdit train` leaves it, and the run's latents.
Out: a CSV with columns run, step, ema_width, kind, block, site, timestep, correlation, magnitude:
     step 0 is the initialisation, the others are snapshots of the run's first EMA width;
     kind activation (residual, attention and MLP inputs and outputs) and, where pairs are turned, angle (radians), by
     timestep; weight (row norms over the norm that preserves magnitude); gain (the learned gains, signed);
     correlated, at the start and in the end: activations on made-up normal latents of magnitude 1 in the place of noisy
     images, whose neighbouring pixels have the given correlation (0: independent, as the lemmas presume);
     block -1 is what stands before the blocks, the one after the last is the final layer (see `model.magnitudes`).
     Only the header where the run has diverged.

Every run is shown the same images with the same noise: those of the latents, evenly spaced, at the given timesteps.
"""

import argparse
from pathlib import Path

from ..system.device import add_device_argument

COLUMNS = ("run", "step", "ema_width", "kind", "block", "site", "timestep", "correlation", "magnitude")
BATCH = 64
CORRELATIONS = (0.0, 0.5, 0.9, 0.99)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--latents", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    parser.add_argument("--images", type=int, default=256, metavar="N", help="how many images are shown (%(default)s)")
    parser.add_argument(
        "--timesteps", type=int, nargs="+", default=[50, 250, 500, 750, 950], metavar="T",
        help="noise levels, 0 to 999 (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--snapshots", type=int, default=16, metavar="N",
        help="at most so many snapshots, evenly spaced, the last always (%(default)s)",
    )  # fmt: skip
    add_device_argument(parser)


def main(args: argparse.Namespace) -> None:
    from ..system.errors import UserError
    from ..system.files import read_json, write_csv

    if args.images < 1 or args.snapshots < 1 or not all(0 <= t < 1000 for t in args.timesteps):
        raise UserError(
            f"--images {args.images}, --snapshots {args.snapshots}, --timesteps {args.timesteps}: must be at least 1, "
            f"at least 1, and from 0 to 999"
        )
    trained = read_json(args.run_folder / "trained.json")
    rows = [] if trained["status"] == "diverged" else _trace(args, read_json(args.run_folder / "spec.json"), trained)
    write_csv(args.output, COLUMNS, rows)


def _trace(args: argparse.Namespace, spec: dict, trained: dict) -> list[dict]:
    from ..data.latents import Latents
    from ..model.dit import model_of_run
    from ..system.device import choose_device
    from ..system.errors import UserError
    from ..training import ema

    latents = Latents(args.latents)
    if trained["latents"] != latents.fingerprint:
        raise UserError(f"{args.latents}: latents {latents.fingerprint[:12]}: must be those the run was trained on")
    width = spec["training"]["ema_widths"][0]
    folder = args.run_folder / "snapshots"
    steps = _spread([s.step for s in ema.list_snapshots(folder) if s.width == width], args.snapshots)
    if not steps:
        raise UserError(f"{folder}: no snapshots of EMA width {width:g}: must be there after training")

    device = choose_device(args.device)
    model = model_of_run(spec, latents).to(device).eval()
    batches = _batches(latents, args.images, device)
    about = {"step": 0, "ema_width": ""}
    rows = [{**about, **row} for row in _measure(model, batches, args.timesteps) + _correlated(model, args)]
    for step in steps:
        weights, _ = ema.reconstruct(folder, width, step)
        model.load_state_dict(weights)
        model.normalize_weights()
        found = _measure(model, batches, args.timesteps) + (_correlated(model, args) if step == steps[-1] else [])
        rows += [{"step": step, "ema_width": width, **row} for row in found]
    return [{"run": spec["run"], **row, "magnitude": f"{row['magnitude']:.7g}"} for row in rows]


def _spread(steps: list[int], count: int) -> list[int]:
    """At most `count` of `steps`, evenly spaced in the list, the last always among them."""
    count = min(count, len(steps))
    return [steps[(i + 1) * len(steps) // count - 1] for i in range(count)]


def _batches(latents, images: int, device: str) -> list:
    """Pairs (whitened latents (B, C, H, W), labels (B,)) of up to `images` evenly spaced rows."""
    import torch

    from ..system.seeds import generator

    indices = torch.linspace(0, latents.count - 1, min(images, latents.count)).round().long()
    draw = generator("trace", "posterior")
    return [latents.batch(part, draw, device) for part in indices.split(BATCH)]


def _measure(model, batches: list, timesteps: list[int]) -> list[dict]:
    """Rows of kind, block, site, timestep, magnitude of a model as it is."""
    import torch

    from ..model.diffusion import Diffusion
    from ..model.magnitudes import gains, probes, weight_magnitudes
    from ..system.seeds import generator

    rows, diffusion = [], Diffusion().to(batches[0][0].device)
    with torch.inference_mode(), probes(model) as magnitudes:
        for timestep in timesteps:
            draw = generator("trace", "noise", timestep)
            for x0, labels in batches:
                noise = torch.randn(x0.shape, generator=draw).to(x0.device)
                t = torch.full_like(labels, timestep)
                model(diffusion.add_noise(x0, noise, t), t, labels)
            for (block, site), value in magnitudes.take().items():
                kind = "angle" if site.endswith("_angle") else "activation"
                rows.append({"kind": kind, "block": block, "site": site, "timestep": timestep, "magnitude": value})
    for kind, values in (("weight", weight_magnitudes(model)), ("gain", gains(model))):
        rows += [{"kind": kind, "block": b, "site": site, "magnitude": value} for (b, site), value in values.items()]
    return rows


def _correlated(model, args: argparse.Namespace) -> list[dict]:
    """Rows of activations on normal latents of each of CORRELATIONS."""
    import torch

    from ..model.magnitudes import correlated_latents, probes
    from ..system.seeds import generator

    device, rows = next(model.parameters()).device, []
    shape = (min(args.images, BATCH), model.in_channels, model.input_size, model.input_size)
    labels = torch.arange(shape[0], device=device) % model.num_classes
    with torch.inference_mode(), probes(model) as magnitudes:
        for correlation in CORRELATIONS:
            for timestep in args.timesteps:
                x = correlated_latents(shape, correlation, generator("trace", "correlated", timestep)).to(device)
                model(x, torch.full_like(labels, timestep), labels)
                rows += [
                    {
                        "kind": "correlated", "block": block, "site": site, "timestep": timestep,
                        "correlation": correlation, "magnitude": value,
                    }
                    for (block, site), value in magnitudes.take().items()
                    if not site.endswith("_angle")
                ]  # fmt: skip
    return rows
