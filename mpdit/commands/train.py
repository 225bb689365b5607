"""Spec and latents -> a trained run.

Reads SPEC (spec.json: all that decides the run's weights, and its number of steps) and the latents' folder. Writes into
the folder of --output, the run's: training.csv, checkpoints/, snapshots/ (EMAs, and the plain weights at the end),
config.json with model.safetensors (for `mpdit.DiT.from_pretrained`), and last of all trained.json.

Started again it goes on from the last checkpoint: after a kill to the same bits (on the CPU), after `steps` were raised
in the spec to the new number. A run that diverges is a result: it says so in trained.json, with exit status 0.
SIGTERM and SIGINT save, and exit with status 75. Several devices: `--devices N`, or `torchrun -m mpdit train ...`.
"""

import argparse
import os
import sys
from pathlib import Path

from ..system.device import add_device_argument


def add_arguments(parser):
    parser.add_argument("spec", type=Path, metavar="SPEC", help="the run's spec.json")
    parser.add_argument(
        "--latents", type=Path, required=True, metavar="FOLDER", help="that `mpdit encode` has finished"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="trained.json of the run's folder")
    # How the run is executed; none of this is a part of what it is.
    add_device_argument(parser)
    parser.add_argument("--devices", type=_count, default=1, metavar="N", help="processes, one a device (1)")
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU threads (OMP_NUM_THREADS, else 1)")
    parser.add_argument("--log-every", type=_count, default=50, metavar="STEPS", help="(50)")
    parser.add_argument(
        "--checkpoint-every", type=_count, metavar="STEPS", help="(so often that it takes 1 %% of the time)"
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="torch.compile (on CUDA)"
    )


def main(args) -> int:
    from ..system.errors import UserError
    from ..system.files import read_json
    from ..system.interruption import snakemake_ancestors

    ancestors = snakemake_ancestors()  # before torch is imported: that takes seconds, and Snakemake may die in them
    spec = read_json(args.spec)
    for field in ("run", "model", "config", "fields", "modulation", "lr", "seed", "data", "training"):
        if not isinstance(spec, dict) or field not in spec:
            raise UserError(f"{args.spec}: no field {field}: must be a spec.json as the workflow writes it")
    if args.devices > 1 and "RANK" not in os.environ:
        return _under_torchrun(args.devices)
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


def _under_torchrun(devices: int) -> int:
    """Become torchrun, which starts this command once a device. The process id stays, so signals still arrive."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    os.execv(sys.executable, [*launcher, "-m", "mpdit", *sys.argv[1:]])


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)
