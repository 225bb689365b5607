"""CSVs -> a table or a figure.

In:  the name of a table or figure of `mpdit.paper`; --data, a folder that `mpdit aggregate` wrote; for tables with step
     times --cost, what `mpdit cost` wrote; for sample grids --runs, the folder of run folders.
Out: of a table .csv, .md and .tex, of a figure .pdf and .png, all beside --output.
"""


def add_arguments(parser):
    from ..paper import ARTEFACTS

    parser.add_argument("artefact", metavar="NAME", choices=ARTEFACTS, help=f"one of {', '.join(ARTEFACTS)}")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder of the aggregated CSVs")
    parser.add_argument("--cost", metavar="CSV", help="default: cost.csv in --data; without any, step times stay empty")
    parser.add_argument("--runs", metavar="FOLDER", help="the folder of run folders, for sample grids")
    parser.add_argument("--output", required=True, metavar="FILE", help="one of the files; the others lie beside it")


def main(args):
    from pathlib import Path

    from ..paper import ARTEFACTS, read, render
    from ..system.errors import UserError

    artefact, output = ARTEFACTS[args.artefact], Path(args.output)
    if output.suffix not in artefact.suffixes:
        raise UserError(f"--output: {output}: must end in {' or '.join(artefact.suffixes)}")
    render(artefact, read(artefact, args.data, args.cost, args.runs), output)
    print(", ".join(str(output.with_suffix(suffix)) for suffix in artefact.suffixes))
