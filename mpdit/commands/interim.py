"""The runs that are finished now -> every table and figure, and a report, all marked as interim.

In:  CONFIGURATION, that of the study (a YAML file, or the JSON itself); --runs, the folder of run folders, at which
     others may be at work: nothing there is waited for, started or written; --cost, what `mpdit cost` wrote, if it has.
Out: in --output the aggregates, tables, figures/ and report.html, laid out as in results/. Captions, pictures and the
     report say that they are interim, when they were made, how many runs stand how, and how many scores there are.
     What cannot be drawn yet is left out, and the report says why in its place.
"""

import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path


def add_arguments(parser):
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="folder of run folders (%(default)s)")
    parser.add_argument("--cost", default="results/cost.csv", metavar="CSV", help="(%(default)s)")
    parser.add_argument("--output", default="results/interim", metavar="FOLDER", help="(%(default)s)")


def main(args) -> int:
    from ..experiment.grid import read_experiment
    from ..paper import goals
    from ..rendering import report
    from ..results.collect import collect, subset

    experiment, runs, output = read_experiment(args.configuration), Path(args.runs), Path(args.output)
    cost = Path(args.cost) if Path(args.cost).exists() else None
    chosen = goals(experiment.blocks)
    whole = _aggregate(experiment, experiment.blocks, output, lambda planned: collect(planned, runs))
    for block in dict.fromkeys(block for block in chosen.values() if block):
        folder = output / "experiments" / block
        _aggregate(experiment, [block], folder, lambda planned: subset(whole, planned))
    states = f"{report.count_states(whole['runs'].to_dict('records'))}; {_scores(experiment, whole)}"
    notice = f"Interim, {time.strftime('%Y-%m-%d %H:%M')}; {states}."
    undrawn, failed = {}, False
    for name, block in chosen.items():
        data = output / "experiments" / block if block else output
        reason, is_defect = _render(name, data, cost, runs, output, notice)
        if reason:
            undrawn[name], failed = reason, failed or is_defect
            print(f"{name}: not drawn: {reason}", file=sys.stderr)
    report.write(output / "report.html", experiment, output, runs, notice, undrawn)
    print(f"{output / 'report.html'}: {states}; {len(chosen) - len(undrawn)} of {len(chosen)} tables and figures drawn")
    return 1 if failed else 0


def _aggregate(experiment, blocks, folder: Path, tables_of) -> dict:
    """Write plan.json and the aggregates of some blocks, which `tables_of` makes of the planned runs; return them."""
    from ..results.tables import write_tables
    from ..system.files import write_json

    tables = tables_of(experiment.planned_runs(*blocks))
    write_json(folder / "plan.json", experiment.plan(*blocks))
    write_tables(tables, folder)
    return tables


def _scores(experiment, tables: dict) -> str:
    """Such as `31 of 110 scores`: those that are there of those there will be; a run that diverged has none."""
    alive = set(tables["runs"].loc[tables["runs"]["status"] != "diverged", "run"])
    plan = experiment.plan(*experiment.blocks)["runs"]
    return f"{len(tables['fid'])} of {sum(len(entry['scores']) for entry in plan if entry['run'] in alive)} scores"


def _render(name: str, data: Path, cost: Path | None, runs: Path, output: Path, notice: str) -> tuple[str | None, bool]:
    """Make one artefact with the notice on it: why it could not be made (None: it was), and whether a defect is why.

    The files of an earlier call are removed first, so that what lies there is of this one.
    """
    from ..paper import ARTEFACTS, read, render
    from ..system.errors import UserError

    artefact = ARTEFACTS[name]
    folder = output if artefact.kind == "table" else output / "figures"
    files = [folder / f"{name}{suffix}" for suffix in artefact.suffixes]
    for file in files:
        file.unlink(missing_ok=True)
    try:
        render(_marked(artefact, notice), read(artefact, data, cost, runs), files[0])
    except UserError as error:
        return str(error), False
    except Exception as error:  # one figure's defect must not cost the reader all the others
        traceback.print_exc()
        return f"{type(error).__name__}: {error}", True
    return None, False


def _marked(artefact, notice: str):
    """The artefact with the notice before its caption and, of a figure, as a watermark."""

    def make(data):
        figure, look = artefact.make(data), {"ha": "center", "color": "#8a3b00", "in_layout": False}
        figure.text(0.5, 0.5, "interim", va="bottom", fontsize=40, alpha=0.15, **look)
        figure.text(0.5, 0.5, notice, va="top", fontsize=7, alpha=0.5, **look)
        return figure

    caption = f"{notice} {artefact.caption}"
    return replace(artefact, caption=caption, make=make if artefact.kind == "figure" else artefact.make)
