"""Tables and figures -> one HTML file that opens offline.

In:  CONFIGURATION, that of the study (a YAML file, or the JSON itself); --results, the folder with its tables,
     figures/ and runs.csv; --runs, the folder of run folders, whose trained.json tell versions.
Out: --output, a report that holds tables, figures with their captions, runs and their states, hardware, versions,
     commits, time spent and the configuration in full. It refers to no other file.
"""


def add_arguments(parser):
    parser.add_argument("configuration", metavar="CONFIGURATION", help="YAML file, or the JSON itself")
    parser.add_argument("--results", default="results", metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="folder of run folders (%(default)s)")
    parser.add_argument("--output", required=True, metavar="FILE", help="the .html to write")


def main(args):
    from ..experiment.grid import read_experiment
    from ..rendering import report

    report.write(args.output, read_experiment(args.configuration), args.results, args.runs)
    print(args.output)
