# What the rules share: the validated experiment, the command line, and where files lie.

import json
import re
import shlex
import sys
from pathlib import Path

from mpdit.experiment import Experiment
from mpdit.experiment.study_file import study_hash
from mpdit.rendering.goals import require_block_names
from mpdit.rendering.registry import require_claims
from mpdit.results.finished_runs import finished_runs, measured, sampled, traced
from mpdit.system.errors import UserError

CONFIGURATION = ", ".join(map(str, workflow.configfiles))  # its files, for messages

try:
    experiment = Experiment(STUDY_CONFIGURATION, untuned=True)
    require_claims(experiment.claims.primary)
    require_block_names(experiment.blocks)
    searches = experiment.tuning_settings() if experiment.heldout_name else []
except UserError as error:  # one line per mistake, no traceback
    sys.exit("\n".join(f"{CONFIGURATION}: {line}" for line in str(error).splitlines()))


NOTHING = "(?!)"  # a wildcard constraint that no name meets


def one_of(names):
    """A wildcard constraint: exactly these names."""
    return "|".join(map(re.escape, names)) or NOTHING


def options(values):
    """Command-line options from a mapping; null leaves an option out, a list gives several values."""
    words = []
    for key, value in values.items():
        if value is not None:
            words += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


# Each job prints to the terminal as it goes, and `--log` writes the same to the rule's `log:`, which Snakemake shows of
# jobs that failed (`show-failed-logs`). Nothing is piped: a pipe would stand between training and its signals.
MPDIT = f"{shlex.quote(sys.executable)} -m mpdit"
# The Python file of the study, for jobs that build models, compute features or draw. It is no input and no param but of
# drawing, so that an edit of it draws again and trains nothing; versions of parts are in the names of runs.
STUDY_FILE = options({"study": experiment.study})
DRAWN_BY = {"study": study_hash()} if experiment.study else {}
# Jobs on a GPU ask for `gpu`: a scheduler's executor requests it, and `--resources gpu=4` counts it. Then, too, each job
# is handed GPUs of its own.
GPU = int(experiment.execution.device != "cpu")
GPUS = GPU * experiment.execution.devices
HANDED_OUT = GPU and "gpu" in workflow.resource_settings.resources
ON_GPU = f"{shlex.quote(sys.executable)} -m mpdit.system.gpus {{resources.gpu}} {{MPDIT}}" if HANDED_OUT else "{MPDIT}"
LATENTS = f"results/latents/{experiment.data_name}/manifest.json"
# Part of shell commands, not of params: moving the images encodes nothing again.
DATA = shlex.quote(json.dumps(experiment.data.to_json()))
KNOWN = "results/sources/{source}.json"  # which pictures a name stands for
STUDY = json.dumps(experiment.configuration)
AGGREGATES = experiment.aggregates
LOCK = "results/study-lock.json"  # what a study with primary claims has fixed before its first run
SEARCHES = {setting.name: setting for setting in searches}  # of `snakemake tune`
TUNING_RUNS = {run.name: run for setting in searches for run in setting.runs()}
RUNS = {**TUNING_RUNS, **experiment.runs}
# Runs that have ended are left alone, whatever becomes of their inputs. A job parses the workflow too, for itself alone.
FINISHED = finished_runs(RUNS, Path("results/runs")) if workflow.is_main_process else {}
# Where the latents have been deleted and must be made again for another run, what was made from them is left alone too.
LATENTS_ARE_GONE = workflow.is_main_process and not Path(LATENTS).exists()


def tuned_rates(wildcards):
    """No input. Without the file of tuned rates only `tune` can be made: stop with one line."""
    if experiment.missing_rates:
        sys.exit(
            f"learning_rates: {experiment.missing_rates}; run `snakemake --cores all tune`, which makes "
            f"results/rates.csv, or give numbers"
        )
    return []
