# The configuration: the files given with --configfile, or else config.yaml. A configuration that is given replaces the
# default whole.

import sys

from mpdit.experiment.parse import read_configuration
from mpdit.system.errors import UserError

# Read here before Snakemake reads them: it takes the last of two equal keys, and has no line for a mistake in YAML.
try:
    for path in workflow.configfiles or ["config.yaml"]:
        read_configuration(path)
except UserError as error:
    sys.exit(str(error))

if not workflow.configfiles:

    configfile: "config.yaml"
