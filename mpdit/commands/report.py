"""Tables and figures -> one HTML file that opens offline.

In:  CONFIGURATION, the configuration of the study (a YAML file, or the JSON itself); --results, the folder with its
     tables, figures/ and runs.csv; --runs, the folder of run folders, whose trained.json files tell the versions.
Out: --output, a report with all tables and figures with their captions, the runs and their states, hardware, versions,
     commits, time spent and the complete configuration. It refers to no other file.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("--results", default="results", metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="folder of run folders (%(default)s)")
    parser.add_argument("--output", required=True, metavar="FILE", help="the .html file to write")


def main(args: argparse.Namespace) -> None:
    from .. import registrations
    from ..experiment.grid import read_experiment
    from ..rendering import report

    registrations.load()
    report.write(args.output, read_experiment(args.configuration), args.results, args.runs)
    print(args.output)
