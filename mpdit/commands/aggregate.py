"""Collect finished runs into one CSV per subject.

In:  a plan.json, which lists runs and where their scores are, and the folder of run folders.
Out: runs.csv (one row per run: status, steps, parameters, speed), fid.csv (one row per run and protocol: FID and KID
     with the whole protocol), training.csv (one row per logged step), magnitudes.csv (one row per site, snapshot and
     noise level) and angles.csv (the same for modulations that rotate), in long form, joined by the column `run`.

With --heldout also heldout.csv (one row per snapshot, EMA width and part of the held-out images) and heldout_images.csv
(one row per EMA width and held-out image).

Runs that are missing, still running or diverged are shown as such in runs.csv; the other tables have what there is.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="plan.json of the experiment")
    parser.add_argument("--runs", required=True, metavar="FOLDER", help="folder of run folders")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the CSVs are written")
    parser.add_argument("--heldout", action="store_true", help="collect held-out losses too")


def main(args: argparse.Namespace) -> None:
    from ..experiment.columns import AGGREGATES, HELDOUT_AGGREGATES
    from ..results.collect import collect, read_plan
    from ..results.tables import write_tables

    tables = collect(read_plan(args.plan), args.runs, (*AGGREGATES, *(HELDOUT_AGGREGATES if args.heldout else ())))
    write_tables(tables, args.output)
    counts = tables["runs"]["status"].value_counts()
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{args.output}: {len(tables['runs'])} runs ({statuses or 'none'}), {len(tables['fid'])} scores")
