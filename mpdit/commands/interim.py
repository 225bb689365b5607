"""The runs that are finished now -> every table and figure, and a report, all marked as interim.

In:  CONFIGURATION, the configuration of the study (a YAML file, or the JSON itself); --runs, the folder of run folders,
     which other processes may be using: nothing in it is waited for, started or written; --cost, the file written by
     `mpdit cost`, if there is one.
Out: in --output the aggregates, tables, figures/ and report.html, laid out as in results/. Captions, pictures and the
     report say that they are interim, when they were made, the number of runs in each state and the number of scores.
     What cannot be rendered yet is left out, and the report says why.
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="folder of run folders (%(default)s)")
    parser.add_argument("--cost", default="results/cost.csv", metavar="CSV", help="(%(default)s)")
    parser.add_argument("--output", default="results/interim", metavar="FOLDER", help="(%(default)s)")


def main(args: argparse.Namespace) -> int:
    from .. import registrations
    from ..experiment.grid import read_experiment
    from ..rendering.interim import write_interim

    registrations.load()
    cost = Path(args.cost) if Path(args.cost).exists() else None
    done = write_interim(read_experiment(args.configuration), Path(args.runs), cost, Path(args.output))
    for file, problem in done.problems.items():
        print(f"{file}: not rendered: {problem.reason}", file=sys.stderr)
    count = f"{done.artifacts - len(done.problems)} of {done.artifacts} tables and figures rendered"
    print(f"{done.report}: {done.states}; {count}")
    return 1 if any(problem.is_defect for problem in done.problems.values()) else 0
