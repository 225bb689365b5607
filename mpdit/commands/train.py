"""Train a run.

In:  SPEC (spec.json: all that decides the run's weights, and its number of steps) and the latents.
Out: in the folder of --output, which is the run's: training.csv; checkpoints/; snapshots/ (EMAs, and the plain weights
     at the end); config.json with model.safetensors (for `mpdit.DiT.from_pretrained`); last of all trained.json, and
     outcome.json with the same content, from which trained.json is written again where it was deleted.

Started again, it resumes from the last checkpoint: on the CPU a resumed run is bit-identical to an uninterrupted one,
and a run whose `steps` were raised in the spec continues to the new number. A run that has ended is never trained from
the start again, even if its checkpoints are gone. A run that diverges is a result: trained.json says so, with exit
status 0. SIGTERM and SIGINT save, and exit with status 75. On several devices: `--devices N`, or
`torchrun -m mpdit train ...`.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from ..system.device import add_device_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=Path, metavar="SPEC", help="the run's spec.json")
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="latents written by `mpdit encode`"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="trained.json in the run's folder")
    # How the run is executed: not part of its identity.
    add_device_argument(parser)
    parser.add_argument(
        "--devices", type=_count, default=1, metavar="N", help="processes, one per device (%(default)s)"
    )
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU threads (default: OMP_NUM_THREADS, else 1)")
    parser.add_argument(
        "--log-every", type=_count, default=50, metavar="STEPS", help="steps between rows of training.csv (%(default)s)"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=_count,
        metavar="STEPS",
        help="steps between checkpoints (default: as often as keeps saving at 1 %% of the time)",
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="use torch.compile (default: on CUDA)"
    )


def main(args: argparse.Namespace) -> int:
    from ..experiment.run_spec import RunSpec
    from ..results.finished_runs import kept_outcome
    from ..system.interruption import ended_by_ctrl_c, snakemake_ancestors

    ancestors = snakemake_ancestors()  # before torch is imported: that takes seconds, in which Snakemake may die
    spec = RunSpec.read(args.spec)
    ended = kept_outcome(spec, args.latents, args.output)
    if ended is not None:
        print(f"{spec.name}: {ended.status} at step {ended.step} before: nothing to do")
        return 0
    if args.devices > 1 and "RANK" not in os.environ:
        _become_torchrun(args.devices)
    with ended_by_ctrl_c():
        import torch

        from ..training.loop import train

    torch.set_num_threads(args.threads or int(os.environ.get("OMP_NUM_THREADS", 1)))
    return train(
        spec,
        args.latents,
        args.output,
        device=args.device,
        log_every=args.log_every,
        checkpoint_every=args.checkpoint_every,
        compile=args.compile,
        ancestors=ancestors,
    )


def _become_torchrun(devices: int) -> NoReturn:
    """Replace this process by torchrun, which starts the command once per device. Signals still reach the same id."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "-m"]
    # Without the "--" torchrun would take `--log` for an abbreviation of its own options.
    os.execv(sys.executable, [*launcher, "--", "mpdit", *sys.argv[1:]])


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)
