"""Measure the time of a training step of configurations and modulations, side by side.

In:  MODEL:MODULATION:CONFIG,CONFIG,... and the latents (their shape and classes).
Out: a CSV with one row per configuration, modulation, and form: columns model, config, modulation, form, parameters,
     flops (forward pass of one image), step_seconds (median), relative (to Config A of the same model with scale_shift,
     the DiT baseline: median over rounds of the ratio within a round), relative_low, relative_high (its 95 % interval),
     rounds, device, threads.
     Configurations with forced weights, Config D and E, have one row per form: cheap, in which runs are trained (unit
     rows, projected gradients), and textbook (EDM2's: rows normalized under autograd and put back at each step).

The data are noise: step times do not depend on them. All configurations of a modulation, and the baseline, are in
memory at once and take their steps in turn, so that other work on the machine affects all alike.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..system.device import add_device_argument

if TYPE_CHECKING:
    from ..experiment.ladder import Ladder

FEWEST_ROUNDS = 6  # with fewer there is no 95 % interval of the median


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants", nargs="+", required=True, metavar="MODEL:MODULATION:CONFIGS",
        help="such as DiT-S/2:scale_shift:A,B,C,D,E",
    )  # fmt: skip
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="latents written by `mpdit encode`"
    )
    parser.add_argument(
        "--configuration", metavar="CONFIGURATION",
        help="YAML file, or JSON itself, whose `configs:` and `sizes:` are known beside the shipped ones",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, required=True, metavar="B", help="images per step")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    parser.add_argument("--rounds", type=int, default=24, help="timed steps of each (%(default)s)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="(%(default)s)")
    add_device_argument(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="use torch.compile (default: on CUDA)"
    )


def main(args: argparse.Namespace) -> None:
    from ..experiment.columns import COST
    from ..experiment.parse import read_ladder
    from ..system.errors import UserError
    from ..system.files import write_csv

    ladder = read_ladder(args.configuration)
    variants = [_parse(text, ladder) for text in args.variants]
    if args.rounds < FEWEST_ROUNDS:
        raise UserError(f"--rounds: {args.rounds}: must be at least {FEWEST_ROUNDS}")
    for option in ("batch_size", "threads"):
        if getattr(args, option) < 1:
            raise UserError(f"--{option.replace('_', '-')}: {getattr(args, option)}: must be at least 1")

    import torch

    from ..data.latents import Latents
    from ..training.distributed import join
    from ..training.step_time import measure

    latents = Latents(args.latents)
    device = join(args.device).device
    torch.set_num_threads(args.threads)
    rows = [
        row
        for model, modulation, configs in variants
        for row in measure(
            model,
            modulation,
            configs,
            ladder,
            shape=latents.shape,
            num_classes=latents.num_classes,
            batch_size=args.batch_size,
            rounds=args.rounds,
            precision=args.precision,
            device=device,
            compile=device.type == "cuda" if args.compile is None else args.compile,
        )
    ]
    write_csv(args.output, COST.names, [row.cells() for row in rows])


def _parse(text: str, ladder: "Ladder") -> tuple[str, str, list[str]]:
    """Return model, modulation, and configurations of "DiT-S/2:scale_shift:A,E". UserError if one is unknown."""
    from ..experiment.parts import find
    from ..system.errors import UserError

    parts = text.split(":")
    if len(parts) != 3:
        raise UserError(f"--variants: {text}: must be MODEL:MODULATION:CONFIGS, such as DiT-S/2:scale:A,E")
    model, modulation, configs = parts[0], parts[1], parts[2].split(",")
    try:
        ladder.parse_model(model)
        find("modulation", modulation)
        for config in configs:
            ladder.config(config)
    except UserError as error:
        raise UserError(f"--variants: {text}: {error}") from None
    return model, modulation, configs
