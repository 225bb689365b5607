"""Estimate what a study will take, before anything runs: runs, jobs, time and disk.

In:  a configuration, what its runs have left in RESULTS so far, and the images or the latents where they are at hand.
Out: printed: the runs and samples of each block, and how far they are; the jobs that are left, their floating-point
     operations (FLOP) and the hours of a GPU (or core) that these take; the disk space of the whole study; the time on
     several devices side by side. Nothing is written, downloaded or submitted.

Operations are counted. Hours are an estimate, at the rate that is given, or that finished runs of this study have
measured here, or that cost.csv holds, or else at an assumed one; what is printed says which.
"""

import argparse
import math
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configfile", type=Path, default=Path("config.yaml"), metavar="YAML", help="the configuration (%(default)s)"
    )
    parser.add_argument("--block", nargs="+", metavar="NAME", help="blocks of `experiments:` (default: all)")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="FOLDER", help="what has run so far (%(default)s)"
    )
    parser.add_argument(
        "--flops-per-second", type=float, metavar="RATE", help="rate of one GPU (or core), such as 5e13"
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help="number of images in the source, where it is not at hand"
    )


def main(args: argparse.Namespace) -> None:
    from ..experiment.grid import read_experiment
    from ..planning.data_summary import summarize_data
    from ..planning.jobs import Workload
    from ..planning.rates import find_rate
    from ..planning.report import report_lines
    from ..system.errors import UserError

    experiment = read_experiment(args.configfile, untuned=True)
    for block in args.block or ():
        if block not in experiment.blocks:
            raise UserError(f"--block: {block}: must be one of {', '.join(experiment.blocks)}")
    if args.flops_per_second is not None and not 0 < args.flops_per_second < math.inf:
        raise UserError(f"--flops-per-second: {args.flops_per_second:g}: must be a number above 0")
    if args.images is not None and args.images < 1:
        raise UserError(f"--images: {args.images}: must be at least 1")
    data = summarize_data(experiment, args.results, args.images)
    workload = Workload(experiment, list(dict.fromkeys(args.block or experiment.blocks)), args.results, data)
    print(*report_lines(args.configfile, workload, find_rate(workload, args.flops_per_second)), sep="\n")
