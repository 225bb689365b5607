"""Measure the magnitudes of a trained run's activations and weights.

In:  RUN_FOLDER (spec.json, trained.json, snapshots/) and the latents that the run was trained on.
Out: a CSV with columns run, step, ema_width, kind, block, site, timestep, correlation, magnitude.
     step         0 is the initialization; the others are snapshots of the run's first EMA width
     kind         activation: residual stream, inputs and outputs of attention and MLP, by timestep
                  angle:      rotation angles in radians, by timestep, for modulations that rotate
                  weight:     root mean square norm of the rows, as stored, over the norm that preserves magnitude;
                              of the plain weights, too, at the last step (without an ema_width)
                  gain:       learned gains, signed
                  correlated: activations, at initialization and at the last snapshot, on normal latents of magnitude 1
                              instead of noisy images, whose neighboring values have the given correlation (0:
                              independent, as the paper's lemmas assume)
     block        -1 is what comes before the blocks; one more than the last is the final layer
     Only the header if the run has diverged.

Every run is shown the same images with the same noise: images of the latents, evenly spaced, at the given timesteps.
"""

import argparse
from pathlib import Path

from ..experiment.schema import LARGEST_STEP, Tracing
from ..system.device import add_device_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="a run that `mpdit train` has finished")
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="the latents that it was trained on"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="the CSV to write")
    defaults = Tracing()
    timesteps = " ".join(map(str, defaults.timesteps))
    parser.add_argument(
        "--images", type=int, default=defaults.images, metavar="N", help="number of images shown (%(default)s)"
    )
    parser.add_argument(
        "--timesteps", type=int, nargs="+", default=defaults.timesteps, metavar="T",
        help=f"noise levels, 0 to {LARGEST_STEP} ({timesteps})",
    )  # fmt: skip
    parser.add_argument(
        "--snapshots", type=int, default=defaults.snapshots, metavar="N",
        help="largest number of snapshots measured; evenly spaced, the last one included (%(default)s)",
    )  # fmt: skip
    add_device_argument(parser)


def main(args: argparse.Namespace) -> None:
    from ..evaluation.tracing import trace

    trace(
        args.run,
        args.latents,
        args.output,
        images=args.images,
        timesteps=args.timesteps,
        snapshots=args.snapshots,
        device=args.device,
    )
