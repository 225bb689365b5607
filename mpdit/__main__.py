"""Train, sample, score and inspect magnitude-preserving diffusion transformers, one command per stage."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

VERBS = {  # in the order of the pipeline
    "doctor": "examine this machine and what a study needs of it",
    "plan": "report what a study will take: runs, jobs, hours and disk space",
    "encode": "encode images as latents",
    "reference": "compute feature statistics of real images and the real-against-real floor",
    "identify": "list a study's pictures again, after their path, size or time has changed",
    "lock": "fix what a study decides, before its first run is trained",
    "train": "train one run, or resume it",
    "sample": "draw images from a trained run",
    "score": "compute FID and KID of sampled images against a reference",
    "tune": "choose learning rates from held-out losses",
    "trace": "measure magnitudes of activations and weights over a run's training",
    "heldout": "measure the loss of a run on images that it was not trained on",
    "cost": "measure training step times of configurations and modulations side by side",
    "aggregate": "collect the results of all runs in one CSV per subject",
    "render": "make a table or a figure from the aggregated CSVs",
    "report": "write all tables and figures to one HTML file that opens offline",
    "interim": "render every table, figure and the report from the runs that are finished so far",
    "import": "import run folders from another machine",
    "verify": "read all results anew and name what is damaged, and how it is made again",
    "status": "list the state of every run",
    "describe": "print a model's modules, parameters, FLOPs and expected magnitudes",
}


WITH_TORCH = ("reference", "sample", "score", "trace", "heldout", "cost", "describe")  # as soon as they begin

FAILED = 1  # exit status where the system was at fault; for the user's mistakes it is 2
INTERRUPTED, UNREAD = 130, 141  # exit status after Ctrl-C, and where nobody reads the output, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    A UserError is printed without a traceback, each of its lines after the command's name, and gives exit status 2. So
    is what the operating system refuses, with status 1. Ctrl-C gives status 130, however early it comes: all that takes
    time to import is imported here.
    """
    if sys.platform == "win32":
        print("mpdit: Windows is not supported; install it in WSL 2 (learn.microsoft.com/windows/wsl)", file=sys.stderr)
        return 2
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(argv: Sequence[str]) -> int:
    import argparse
    import importlib
    from pathlib import Path

    from . import __version__
    from .system.console import prepare_output
    from .system.errors import UserError
    from .system.interruption import ended_by_ctrl_c
    from .system.output_log import output_copied_to

    prepare_output()
    parser = argparse.ArgumentParser(prog="mpdit", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if argv[:1] == [verb]:  # import the command that is called, and no other
            with ended_by_ctrl_c():
                command = importlib.import_module(f".commands.{verb}", __package__)
            verb_parser.description = command.__doc__
            command.add_arguments(verb_parser)
            verb_parser.add_argument("--log", type=Path, metavar="FILE", help="also append the output to FILE")
            verb_parser.add_argument(
                "--study", type=Path, metavar="FILE", help="a study's Python file, which registers its own parts"
            )
            verb_parser.set_defaults(main=command.main)
    arguments = parser.parse_args(argv)
    try:
        with output_copied_to(arguments.log):
            return _run(arguments)
    except UserError as error:  # from opening the log
        return _report(arguments.verb, str(error), 2)


def _run(arguments: "argparse.Namespace") -> int:
    from . import registrations
    from .experiment.study_file import failure_in_study
    from .system.console import finish_output
    from .system.errors import UserError, in_one_line
    from .system.interruption import ended_by_ctrl_c
    from .system.seals import unsealed_note

    try:
        if arguments.verb in WITH_TORCH:
            with ended_by_ctrl_c():
                import torch  # noqa: F401
        if arguments.study is not None:
            registrations.load(arguments.study)
        status = arguments.main(arguments) or 0
        sys.stdout.flush()
    except UserError as error:
        return _report(arguments.verb, str(error), 2)
    except Exception as error:
        failure = failure_in_study(error)
        if failure is not None:
            return _report(arguments.verb, failure, 2)
        if isinstance(error, BrokenPipeError):  # whoever read the output has read enough
            return UNREAD
        if isinstance(error, OSError):
            return _report(arguments.verb, in_one_line(error), FAILED)
        if isinstance(error, MemoryError):
            return _report(arguments.verb, "out of memory", FAILED)
        raise
    finally:
        finish_output()
    note = unsealed_note()
    if note and status == 0 and os.environ.get("RANK", "0") == "0":  # once, where a run has several processes
        _report(arguments.verb, note, status)
    return int(status)


def _report(verb: str, message: str, status: int) -> int:
    for line in message.splitlines():
        print(f"mpdit {verb}: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
