"""Finished runs -> one CSV a subject.

In:  a plan.json (which runs, and where their scores lie) and the folder of run folders.
Out: runs.csv (a row a run: status, steps, parameters, speed), fid.csv (a row a run and protocol: FID and KID with the
     whole protocol), training.csv (a row a logged step), magnitudes.csv (a row a place, snapshot and noise level) and
     angles.csv (of modulations that turn pairs), in long form, joined by the column `run`.

Runs that are missing, still running or diverged are shown as such in runs.csv; the rest has what they have.
"""


def add_arguments(parser):
    parser.add_argument("plan", help="plan.json of the experiment")
    parser.add_argument("--runs", required=True, help="the folder of run folders")
    parser.add_argument("--output", required=True, help="folder to write the CSVs to")


def main(args):
    from ..results.collect import aggregate, write

    tables = aggregate(args.plan, args.runs)
    write(tables, args.output)
    counts = tables["runs"]["status"].value_counts()
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{args.output}: {len(tables['runs'])} runs ({states or 'none'}), {len(tables['fid'])} scores")
