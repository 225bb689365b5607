"""Import run folders from another machine.

In:  FOLDER..., run folders as training leaves them, copied here in any way (rsync, tar). Each is checked first: no file
     is missing, a link, or other than its seal says (files of version 0.1 have no seals: they are accepted, with a
     note), its spec.json is valid and its name is the one that such a run has here (a configuration that is defined
     differently makes another run), trained.json is of that run, the run was trained on the latents that are here (if
     there are any), and each score is of the protocol that its folder is named after.
Out: the same runs in --runs. What is no file of a run is named and left behind. Scores by other features or against
     another reference than here are left out, and are made again from the samples. A run that is here from the same
     training gets the files that it does not have yet; another one, trained or begun, stays as it is unless --replace
     is given. Where the configuration asks for more steps, Snakemake continues the training of the imported run.

Each folder that is refused is reported in one line, and the exit status is then 2; the others are still imported.
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="run folders, such as elsewhere/results/runs/*")
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="folder of run folders (%(default)s)")
    parser.add_argument(
        "--latents", default="results/latents", metavar="FOLDER", help="folder of all latents (%(default)s)"
    )
    parser.add_argument(
        "--configuration", metavar="YAML", help="configuration of the study here (config.yaml, if there is one)"
    )
    parser.add_argument("--replace", action="store_true", help="also replace runs that are here in another state")


def main(args: argparse.Namespace) -> int:
    from ..experiment.grid import read_experiment
    from ..results.import_runs import import_run
    from ..system.errors import UserError, in_one_line

    configuration = args.configuration or ("config.yaml" if Path("config.yaml").exists() else None)
    study = read_experiment(configuration) if configuration else None
    refused = 0
    for folder in args.folders:
        try:
            import_run(folder, args.runs, args.latents, study, args.replace)
        except (UserError, OSError) as error:
            refused += 1
            problem = error if isinstance(error, UserError) else in_one_line(error, folder)
            print(f"mpdit import: {problem}", file=sys.stderr)
    return 2 if refused else 0
