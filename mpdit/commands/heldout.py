"""Measure the held-out loss of a trained run.

In:  RUN_FOLDER (spec.json, trained.json, snapshots/), the latents that the run was trained on, and held-out latents,
     which `mpdit encode --heldout` writes.
Out: CSV, and heldout_images.csv beside it. Headers only if the run has diverged.
     CSV                 run, step, ema_width (empty: plain weights), part, images, draws, loss, its means over quarters
                         of the timesteps (loss_q1 is the least noisy), variational (never part of the loss), and the
                         fingerprint of the held-out latents
     heldout_images.csv  the loss of each held-out image of the reporting part at the last step

     part  tune:   half of the held-out images, which chooses learning rates and EMA widths
           report: the other half, which decides claims
           train:  as many images that were trained on, of the same classes, with the same timesteps and noises

The loss is the mean squared error of the predicted noise. Timesteps and noises are functions of the held-out image
alone, so that every run is shown the same.
"""

import argparse
from pathlib import Path

from ..experiment.columns import HELDOUT_PARTS
from ..system.device import add_device_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="a run that `mpdit train` has finished")
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="the latents that it was trained on"
    )
    parser.add_argument("--heldout", type=Path, required=True, metavar="FOLDER", help="the held-out latents")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="the CSV to write")
    parser.add_argument(
        "--ema-widths", type=_ema_width, nargs="+", default=[], metavar="W",
        help="EMA widths (none: plain weights) to measure at the last step, besides those tracked and plain weights",
    )  # fmt: skip
    parser.add_argument(
        "--draws", type=int, default=32, metavar="N", help="timesteps and noises per image (%(default)s)"
    )
    parser.add_argument(
        "--snapshots", type=int, default=8, metavar="N",
        help="most snapshots to measure, evenly spaced, always with the last one (%(default)s); those before the last "
        "in the first EMA width that was tracked, without the tuning part",
    )  # fmt: skip
    parser.add_argument(
        "--last-only", action="store_true", help="measure the last step alone, and only in the --ema-widths named"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=HELDOUT_PARTS,
        default=list(HELDOUT_PARTS),
        help="parts of the images to measure (all)",
    )
    add_device_argument(parser)


def main(args: argparse.Namespace) -> None:
    from ..evaluation.heldout_run import measure_run

    measure_run(
        args.run,
        args.latents,
        args.heldout,
        args.output,
        ema_widths=args.ema_widths,
        draws=args.draws,
        snapshots=args.snapshots,
        last_only=args.last_only,
        parts=args.parts,
        device=args.device,
    )


def _ema_width(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a relative width such as 0.05, or none, got {text!r}") from None
