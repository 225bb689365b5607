# The configuration: the files given with --configfile, or else config.yaml. A configuration that is given replaces the
# default whole. The Python file that it names under `study:` is run, so that what it registers is known.

import sys
from pathlib import Path

from mpdit import registrations
from mpdit.experiment.parse import read_configuration
from mpdit.experiment.study_file import with_study
from mpdit.system.errors import UserError

# Read here before Snakemake reads them: it takes the last of two equal keys, and has no line for a mistake in YAML.
try:
    # By the Python file that each names: the folder to which that is relative.
    folders = {
        str(read_configuration(path).get("study")): Path(path).parent
        for path in workflow.configfiles or ["config.yaml"]
    }
except UserError as error:
    sys.exit(str(error))

if not workflow.configfiles:

    configfile: "config.yaml"


registrations.load()
try:
    STUDY_CONFIGURATION = with_study(config, folders.get(str(config.get("study")), "."))
except UserError as error:
    sys.exit(str(error))
