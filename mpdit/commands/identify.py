"""List a study's pictures again, after their path, size or time has changed.

In:  CONFIGURATION, the study's (a YAML file, or the JSON itself), the NAME of the latents or of the reference that are
     made from the pictures, and the folder of results.
Out: RESULTS/sources/NAME.json: the fingerprint of the pictures, and all paths at which they were found, with the state
     of each (sizes and times). The fingerprint is the same for the same pictures in a folder, a zip or a tar.

Other pictures than those that the results were made from are an error, and nothing is written. The workflow calls this
before it makes anything from pictures that are not as they were.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("name", metavar="NAME", help="of the latents, or of the reference")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="(%(default)s)")


def main(args: argparse.Namespace) -> None:
    from ..data.identify import identify
    from ..experiment.grid import read_experiment
    from ..experiment.picture_inputs import picture_inputs
    from ..results.sources import known_file, manifest_file
    from ..system.errors import UserError

    experiment = read_experiment(args.configuration, untuned=True)
    inputs = {pictures.name: pictures for pictures in picture_inputs(experiment)}
    if args.name not in inputs:
        names = f"one of {', '.join(inputs)}" if inputs else "none, since the study reads no pictures from a path"
        raise UserError(f"NAME: {args.name}: expected {names}")
    pictures, results = inputs[args.name], args.results
    identify(experiment.data, pictures, known_file(results, args.name), manifest_file(results, args.name))
    print(f"{pictures.field}: {pictures.path}: the pictures that results here were made from")
