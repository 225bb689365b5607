"""Draw images from a trained run.

In:  RUN_FOLDER (spec.json, trained.json, snapshots/) and the latents that it was trained on. The weights are an EMA of
     any width that the snapshots can give, or the plain weights (`--ema-width none`).
Out: OUTPUT/samples.npz    arr_0, uint8 (N, H, W, 3), the layout that the ADM evaluator reads; labels, int64 (N,)
     OUTPUT/grid.png       one class per column; each picture starts from the same noise in every run
     OUTPUT/protocol.json  the run and everything that decides the images

Image i has the label i mod number of classes, and its noise is a function of (seed, i): the batch size changes only the
speed. A run that diverged gives an empty samples.npz and a grid.png that says so.
"""

import argparse
from pathlib import Path

from ..experiment.schema import Sampling
from ..system.device import add_device_argument
from ..system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN_FOLDER", type=Path, help="a run that `mpdit train` has finished")
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="the latents that it was trained on"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    defaults = Sampling()
    parser.add_argument(
        "--sampler", default=defaults.sampler, metavar="NAME", help="ddpm, ddim or dpm_solver (%(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=defaults.steps, metavar="N", help="sampling steps, 1 to 1000 (%(default)s)"
    )
    parser.add_argument(
        "--guidance", type=float, default=defaults.guidance, metavar="W",
        help="guidance scale; 1 is no guidance (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=defaults.count, metavar="N", help="number of images (%(default)s)")
    parser.add_argument(
        "--ema-width", default=str(defaults.ema_width[0]), metavar="WIDTH",
        help="relative EMA width, or none for plain weights (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--step", type=int, metavar="N", help="training step of the weights (the last one)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="sampling seed, which decides the noise (%(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="images drawn at once (%(default)s)")
    add_device_argument(parser)
    parser.add_argument(
        "--precision", default="float32", metavar="NAME", help="the model's: float32 or bfloat16 (%(default)s)"
    )


def main(args: argparse.Namespace) -> None:
    from ..evaluation.draw import draw
    from ..experiment.records import TrainedRun
    from ..experiment.run_files import TRAINED
    from ..experiment.run_spec import Protocol

    if not (args.run / TRAINED).is_file():
        raise UserError(f"{args.run}: no {TRAINED}: must be a run folder that `mpdit train` has finished")
    protocol = Protocol(
        sampler=args.sampler,
        sampling_steps=args.steps,
        guidance=args.guidance,
        count=args.count,
        ema_width=_ema_width(args.ema_width),
        step=TrainedRun.read(args.run / TRAINED).step if args.step is None else args.step,
        sampling_seed=args.seed,
    )
    draw(
        args.run,
        args.latents,
        args.output,
        protocol,
        batch_size=args.batch_size,
        device=args.device,
        precision=args.precision,
    )


def _ema_width(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise UserError(f"--ema-width: {text!r}: must be a relative width such as 0.05, or none") from None
