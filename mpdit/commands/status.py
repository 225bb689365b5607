"""Print the state of every run.

In:  the folder of run folders; with --plan also runs that have not begun.
Out: one line per run, also while it is being trained: its state, its step, the loss last logged, the images per second
     and the time left. The last line counts the runs in each state.

States: trained; running (a process holds the run's lock); stopped (begun, and no process trains it: it continues from
its checkpoint); waiting (not begun); diverged; damaged (spec.json or trained.json cannot be read).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..results.run_states import RunState

HEADINGS = ("run", "state", "step", "loss", "images/s", "left")
UNKNOWN = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=Path, default=Path("results/runs"), metavar="FOLDER", help="folder of run folders (%(default)s)"
    )
    parser.add_argument(
        "--plan", nargs="+", default=[], metavar="JSON", help="plan.json files: their runs are listed even if not begun"
    )


def main(args: argparse.Namespace) -> None:
    from ..results.collect import read_plan
    from ..results.run_states import STATES, run_states
    from ..system.console import aligned

    states = run_states(args.runs, {run.run: run.steps for plan in args.plan for run in read_plan(plan)})
    if not states:
        print(f"{args.runs}: no runs yet")
        return
    for line in aligned([HEADINGS, *map(cells, states)], text_columns=2):
        print(line)
    counts = Counter(run.state for run in states)
    print(f"{len(states)} runs: {', '.join(f'{counts[state]} {state}' for state in STATES if counts[state])}")


def cells(run: RunState) -> tuple[str, ...]:
    """The cells of a run under HEADINGS."""
    from ..system.console import duration

    step = UNKNOWN if run.step is None else f"{run.step:,}"
    left = UNKNOWN if run.seconds_left is None else duration(run.seconds_left)
    progress = f"{step} of {run.steps:,}" if run.steps else step
    return (run.run, run.state, progress, _digits(run.loss), _digits(run.images_per_second), left)


def _digits(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
