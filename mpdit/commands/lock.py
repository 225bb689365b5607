"""Fix what a study decides, before its first run is trained.

In:  CONFIGURATION, the study's (a YAML file, or the JSON itself), and the folder of run folders.
Out: --output, a JSON file with the learning rates, training seeds, primary claims with their bounds, and how images are
     sampled and scored. It is written once: where the file is there, nothing is changed. Claims whose settings differ
     from it later are exploratory. It records whether runs of the study had been trained before.

The workflow calls this before it trains a run of a study with primary claims, and before it judges them. With --run of
a tuning run, which reports nothing, no file is written.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("--run", metavar="NAME", help="the run that is about to be trained")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the lock file")


def main(args: argparse.Namespace) -> None:
    from .. import registrations
    from ..experiment.grid import read_experiment
    from ..rendering.registry import claim_bounds
    from ..results.study_lock import write_lock

    registrations.load()
    experiment = read_experiment(args.configuration, untuned=True)
    if experiment.missing_rates is None and (args.run is None or args.run in experiment.runs):
        write_lock(args.output, experiment, claim_bounds(), args.runs)
