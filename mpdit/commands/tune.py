"""Choose learning rates: which to try next, or what a finished search has found.

In:  CONFIGURATION, the study's (a YAML file, or the JSON itself), and the folder of run folders, which holds the tuning
     runs with their held-out losses.
Out: with --setting and --round, a JSON file with the rungs (half-octaves around the start) that this round tries,
     from the losses of the rounds before it; empty when the budget is spent.
     Otherwise rates.csv: every rate and EMA width that was tried, its held-out loss, and the one chosen, for each
     model, configuration and modulation; name it under `learning_rates:`. With --table and --figure also the table
     (.csv, .md, .tex) and the figure (.pdf, .png) of what was tried.

The workflow calls this (`snakemake tune`). Every search tries the same number of rates, `tuning.rates`.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("--setting", metavar="NAME", help="the search, as the workflow names it")
    parser.add_argument("--round", type=int, metavar="N", help="number of the round, from 0")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--tuning", type=Path, default=Path("results/tuning"), metavar="FOLDER",
        help="folder of the rounds of every setting (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--table", type=Path, metavar="FILE", help="the table for readers, a .csv beside the others")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="the figure, a .png beside its .pdf")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to write")


def main(args: argparse.Namespace) -> None:
    from ..experiment.grid import read_experiment
    from ..experiment.tuning import rounds
    from ..results.shown_study import ShownStudy, showing
    from ..results.tables import write_table
    from ..results.tuning import next_round, rates_table, read_rungs
    from ..system.errors import UserError
    from ..system.files import write_json

    experiment = read_experiment(args.configuration, untuned=True)
    settings = {setting.name: setting for setting in experiment.tuning_settings()}
    if (args.setting is None) != (args.round is None):
        raise UserError("--setting and --round: give both for the next round, or neither for rates.csv")
    if args.setting is not None:
        if args.setting not in settings:
            raise UserError(f"--setting: unknown {args.setting!r}; expected one of {', '.join(settings)}")
        folder = args.tuning / args.setting
        tried = read_rungs(folder / f"round-{number}.json" for number in range(args.round))
        rungs = next_round(settings[args.setting], tried, args.runs)
        write_json(args.output, {"setting": args.setting, "round": args.round, "rungs": list(rungs)})
        return
    searches = [
        (setting, read_rungs(args.tuning / name / f"round-{n}.json" for n in range(rounds(experiment.tuning.rates))))
        for name, setting in settings.items()
    ]
    table = rates_table(searches, args.runs)
    write_table(table, args.output)
    with showing(ShownStudy(experiment.ladder)):
        _render(args)
    untuned = table.loc[table["at_edge"].astype(bool), ["model", "config", "modulation"]].drop_duplicates()
    for row in untuned.itertuples(index=False):
        print(f"{' '.join(row)}: the best rate is at an edge of those tried, so it is not tuned")
    print(f"{args.output}: {len(settings)} searches of {experiment.tuning.rates} rates each")


def _render(args: argparse.Namespace) -> None:
    """Write the table and the figure that were asked for, from the file that was just written."""
    from ..experiment.columns import RATES
    from ..rendering import style, table_format
    from ..rendering.figures.tuning import rate_curves
    from ..rendering.rates_table import CAPTION, rates_table
    from ..results.tables import read_table

    rates = read_table(args.output, RATES)
    if args.table is not None:
        table_format.save(rates_table(rates), args.table, CAPTION)
    if args.figure is not None:
        with style.style():
            style.save(rate_curves(rates), args.figure)
