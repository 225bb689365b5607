"""CSVs -> a table or a figure.

In:  the name of a table or a figure; --data, a folder written by `mpdit aggregate`; for tables with step times --cost,
     the file written by `mpdit cost`; for grids of samples --runs, the folder of run folders.
Out: for a table .csv, .md and .tex, for a figure .pdf and .png, all next to --output.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .. import registrations
    from ..rendering.every_block import COMPARISONS
    from ..rendering.goals import figures_of
    from ..rendering.registry import ARTIFACTS

    registrations.load()
    names = ", ".join(
        [*ARTIFACTS, COMPARISONS.name, "the name of the experiment in --data, for its table", *figures_of("EXPERIMENT")]
    )
    parser.add_argument("artifact", metavar="NAME", help=f"one of {names}, or what the study registers")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder of the aggregated CSVs")
    parser.add_argument(
        "--cost", metavar="CSV", help="default: cost.csv in --data; without either, step times are left empty"
    )
    parser.add_argument("--runs", metavar="FOLDER", help="folder of run folders, for grids of samples")
    parser.add_argument("--output", required=True, metavar="FILE", help="one of the files to write, next to the others")


def main(args: argparse.Namespace) -> None:
    from ..rendering.artifacts import block_of, read, render
    from ..rendering.goals import artifact_named, names_of
    from ..system.errors import UserError

    output, block = Path(args.output), block_of(args.data)
    artifact = artifact_named(args.artifact, output.suffix, block)
    if artifact is None:
        names = names_of(block)
        known = f"one of {', '.join(names)}" if names else f"none: {args.data} is not the folder of an experiment"
        raise UserError(f"NAME: {args.artifact}: must be {known}")
    if output.suffix not in artifact.suffixes:
        raise UserError(f"--output: {output}: a {artifact.kind} ends in {' or '.join(artifact.suffixes)}")
    render(artifact, read(artifact, args.data, args.cost, args.runs), output)
    print(", ".join(str(output.with_suffix(suffix)) for suffix in artifact.suffixes))
