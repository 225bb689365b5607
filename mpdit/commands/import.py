"""Run folders of another machine -> runs here.

In:  FOLDER..., run folders as training leaves them, copied here in any way (rsync, tar). Each is checked first: its
     spec.json is valid and is the run that its name stands for here (a letter that was defined otherwise is another
     run), trained.json is of that run, the latents it was trained on are those here (if there are any), each score is
     of the protocol that its folder is named after.
Out: the same runs in --runs. Scores by other features or against another reference than those here are left out; they
     are made anew from the samples. A run that is here by the same training gets what it lacks; another one that is
     here, trained or begun, stays as it is unless --replace is given. Where the configuration asks for more steps,
     Snakemake trains on from what was taken in.

What is not taken in is said, a line a folder, with exit status 2; the other folders are taken in all the same.
"""

import sys
from pathlib import Path


def add_arguments(parser):
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="run folders, such as elsewhere/results/runs/*")
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="where runs lie (%(default)s)")
    parser.add_argument("--latents", default="results/latents", metavar="FOLDER", help="of all data (%(default)s)")
    parser.add_argument("--configuration", metavar="YAML", help="of the study here (config.yaml, where there is one)")
    parser.add_argument("--replace", action="store_true", help="also runs that are here in another state")


def main(args) -> int:
    from ..experiment.grid import read_experiment
    from ..results.import_runs import take_in
    from ..system.errors import UserError

    configuration = args.configuration or ("config.yaml" if Path("config.yaml").exists() else None)
    wanted = read_experiment(configuration).runs if configuration else None
    refused = 0
    for folder in args.folders:
        try:
            take_in(folder, args.runs, args.latents, wanted, args.replace)
        except UserError as error:
            refused += 1
            print(f"mpdit import: {error}", file=sys.stderr)
    return 2 if refused else 0
