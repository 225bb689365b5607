"""Examine this machine: Python, torch and driver, cores, disk, SLURM, and what a configuration needs.

In:  a configuration, if there is one.
Out: printed: one line per finding: ok; note, for what is missing but may not be needed; problem, with what to do. The
     exit status is 1 where there are problems. Nothing is written or downloaded.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configfile", type=Path, metavar="YAML", help="the configuration (config.yaml, if it is there)"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="FOLDER", help="where results go (%(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    from ..experiment.grid import read_experiment
    from ..planning.diagnosis import examine

    path = args.configfile or Path("config.yaml")
    experiment = read_experiment(path, untuned=True) if args.configfile or path.exists() else None
    problems = 0
    for finding in examine(experiment, args.results):
        print(finding)
        problems += finding.level == "problem"
    return min(problems, 1)
