"""Letters and modulations -> relative step time, side by side.

In:  which models, modulations and letters (MODEL:MODULATION:LETTER,LETTER...), the latents (their shape and classes).
Out: a CSV with columns model, config, modulation, form, parameters, flops (one image, forward), step_seconds (median),
     relative (to A of the same model with scale_shift, the DiT baseline: median over rounds of the ratio within a
     round), relative_low, relative_high (its 95 % interval), rounds, device, threads.
     Letters of forced weights, D and E, have a row for each form: cheap, in which this project trains (unit rows,
     projected gradients), and textbook (EDM2's: rows normalised under autograd and put back at each step).

The data are noise: times don't depend on them. All letters of a modulation, and the baseline, are in memory at once and
make their steps in turn, so that other work on the machine meets all alike.
"""

import argparse
from pathlib import Path

from ..system.device import add_device_argument

COLUMNS = (
    "model", "config", "modulation", "form", "parameters", "flops", "step_seconds", "relative", "relative_low",
    "relative_high", "rounds", "device", "threads",
)  # fmt: skip
FEWEST_ROUNDS = 6  # an interval of 95 % needs as many
BASELINE = ("A", "scale_shift", "cheap")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants", nargs="+", required=True, metavar="MODEL:MODULATION:LETTERS",
        help="such as DiT-S/2:scale_shift:A,B,C,D,E",
    )  # fmt: skip
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="that `mpdit encode` has finished"
    )
    parser.add_argument("--batch-size", type=int, required=True, metavar="B")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    parser.add_argument("--rounds", type=int, default=40, help="steps timed of each (%(default)s)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="(%(default)s)")
    add_device_argument(parser)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (%(default)s)")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None, help="(on CUDA)")


def main(args: argparse.Namespace) -> None:
    from ..system.errors import UserError
    from ..system.files import write_csv

    variants = [_parse(text) for text in args.variants]
    if args.rounds < FEWEST_ROUNDS:
        raise UserError(f"--rounds: {args.rounds}: must be at least {FEWEST_ROUNDS}")
    if min(args.batch_size, args.threads) < 1:
        raise UserError(f"--batch-size {args.batch_size}, --threads {args.threads}: must be at least 1")

    import torch

    from ..data.latents import Latents
    from ..training.distributed import join

    latents = Latents(args.latents)
    device = join(args.device).device
    torch.set_num_threads(args.threads)
    rows = [row for variant in variants for row in _measure(args, *variant, latents.shape, latents.num_classes, device)]
    write_csv(args.output, COLUMNS, rows)


def _parse(text: str) -> tuple[str, str, list[str]]:
    """Model, modulation and letters of "DiT-S/2:scale_shift:A,E". UserError for what is not in the grid."""
    from ..experiment.ladder import MODULATIONS, parse_model, resolve
    from ..system.errors import UserError

    try:
        model, modulation, letters = text.split(":")
        parse_model(model)
        if modulation not in MODULATIONS:
            raise UserError(f"unknown modulation {modulation!r}: must be one of {', '.join(MODULATIONS)}")
        for letter in letters.split(","):
            resolve(letter)
    except UserError as error:
        raise UserError(f"--variants: {text}: {error}") from None
    except ValueError:
        raise UserError(f"--variants: {text}: must be MODEL:MODULATION:LETTERS, as DiT-S/2:scale:A,E") from None
    return model, modulation, letters.split(",")


def _measure(
    args: argparse.Namespace, name: str, modulation: str, letters: list[str], shape: tuple, classes: int, device
) -> list[dict]:
    """The rows of the letters of one model in one modulation; `shape` (C, H, W) of the latents."""
    import statistics

    import torch

    from ..experiment.ladder import resolve
    from ..model.dit import create_model
    from ..model.flops import flops
    from ..system.device import device_name
    from ..training.step_time import relative_time, step_times, training_step

    on_cuda = device.type == "cuda"
    images = args.batch_size
    draw = torch.Generator(device).manual_seed(0)
    x0, noise = (torch.randn(images, *shape, generator=draw, device=device) for _ in range(2))
    t = torch.randint(1000, (images,), generator=draw, device=device)
    y = torch.randint(classes, (images,), generator=draw, device=device)
    asked = [
        (letter, modulation, form)
        for letter in letters
        for form in (("cheap", "textbook") if resolve(letter).weights == "forced" else ("cheap",))
    ]
    models, steps = {}, {}
    for variant in dict.fromkeys((BASELINE, *asked)):
        letter, kind, form = variant
        weights = {"weights": "normalized"} if form == "textbook" else {}
        models[variant] = create_model(
            name, letter, kind, input_size=shape[1], in_channels=shape[0], num_classes=classes, seed=0, **weights
        ).to(device)
        steps[variant] = training_step(
            models[variant], (x0, noise, t, y), textbook=form == "textbook", precision=args.precision,
            compile=on_cuda if args.compile is None else args.compile,
        )  # fmt: skip
    times = step_times(steps, args.rounds)
    rows = []
    for variant in asked:
        (letter, _, form), seconds = variant, times[variant]
        relative, low, high = relative_time(seconds, times[BASELINE])
        rows.append({
            "model": name, "config": letter, "modulation": modulation, "form": form,
            "parameters": sum(parameter.numel() for parameter in models[variant].parameters()),
            "flops": flops(models[variant]), "step_seconds": f"{statistics.median(seconds):.6g}",
            "relative": f"{relative:.4f}", "relative_low": f"{low:.4f}", "relative_high": f"{high:.4f}",
            "rounds": args.rounds, "device": device_name(device),
            "threads": args.threads,
        })  # fmt: skip
    return rows
