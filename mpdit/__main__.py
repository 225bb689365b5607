"""The command line: `python -m mpdit VERB`, one verb a stage, in the order of the pipeline."""

import argparse
import importlib
import sys
from pathlib import Path

from .system.errors import UserError
from .system.output_log import output_copied_to

VERBS = {
    "plan": "what a study will take, before anything runs",
    "encode": "images -> latents",
    "reference": "real images -> feature statistics and the real-against-real floor",
    "train": "spec and latents -> a trained run",
    "sample": "a trained run -> images",
    "score": "images and reference -> FID and KID",
    "trace": "a trained run -> magnitudes of activations and weights",
    "cost": "letters and modulations -> relative step time, side by side",
    "aggregate": "finished runs -> one CSV a subject",
    "render": "CSVs -> a table or a figure",
    "report": "tables and figures -> one HTML file that opens offline",
    "interim": "the runs that are finished now -> every table, figure and a report, marked as interim",
    "import": "run folders of another machine -> runs here",
    "status": "the state of every run",
    "describe": "a model of the grid -> modules, parameters, FLOPs, expected magnitudes",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb. Returns its exit status; a UserError is printed as one line and gives 2."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="mpdit", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if argv[:1] == [verb]:  # only the stage that is called is imported
            stage = importlib.import_module(f".commands.{verb}", __package__)
            verb_parser.description = stage.__doc__
            stage.add_arguments(verb_parser)
            verb_parser.add_argument("--log", type=Path, metavar="FILE", help="append what is printed to FILE, too")
            verb_parser.set_defaults(main=stage.main)
    arguments = parser.parse_args(argv)
    try:
        with output_copied_to(arguments.log):
            return _run(arguments)
    except UserError as error:
        return _report(arguments.verb, error)


def _run(arguments: argparse.Namespace) -> int:
    try:
        return arguments.main(arguments) or 0
    except UserError as error:
        return _report(arguments.verb, error)


def _report(verb: str, error: UserError) -> int:
    print(f"mpdit {verb}: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
