# CSVs -> the registered tables and figures, and the report that contains them all.

import os

from mpdit.experiment.columns import HELDOUT_AGGREGATES
from mpdit.rendering.goals import goals

GOALS = goals(experiment.blocks, AGGREGATES)  # by file, as seen from results/


def of_kind(kind):
    return {goal.artifact.name: f"results/{file}" for file, goal in GOALS.items() if goal.artifact.kind == kind}


TABLES = of_kind("table")
FIGURES = of_kind("figure")


def goal_of(output):
    return GOALS[os.path.relpath(output, "results")]


def read_by(output):
    """The plan of the runs of an artifact, then the aggregates that it reads; `samples` are the images of these runs."""
    block, artifact = goal_of(output).block, goal_of(output).artifact
    subjects = artifact.reads
    folder = "results" if block is None else f"results/experiments/{block}"
    files = [f"{folder}/{subject}.csv" for subject in subjects if subject in AGGREGATES]
    files += [f"{folder}/{subject}.csv" for subject in artifact.reads_optional if subject in AGGREGATES]
    if "cost" in subjects:
        files.append("results/cost.csv")
    if "settings" in subjects and experiment.claims.primary:
        files.append(LOCK)
    if "experiments" in subjects:
        subjects = [name for name in AGGREGATES if name in ("runs", "fid", *HELDOUT_AGGREGATES)]
        files += [f"results/experiments/{own}/{name}.csv" for own in experiment.blocks for name in subjects]
    if "samples" in subjects:
        runs = experiment.planned_runs(*([block] if block else experiment.blocks))
        files += [f"results/runs/{run.run}/{Path(score).parent}/samples.npz" for run in runs for score in run.scores]
    return [f"{folder}/plan.json", *files]


def in_report(file, category):
    """A file that `snakemake --report` shows, with the caption from the params of the job."""
    return report(file, caption="../report/caption.rst", category=category, labels={"name": "{name}"})


def figures_beside(table):
    """The figures of a table's block, which come with it."""
    block = goal_of(table).block
    return [figure for figure in FIGURES.values() if block and goal_of(figure).block == block]


RENDER = (
    "{MPDIT} render {wildcards.name} --data $(dirname {input.data[0]}) --cost results/cost.csv --runs results/runs"
    " --output {output[0]} {STUDY_FILE} --log {log}"
)


localrules:
    lock,


rule lock:
    input:
        tuned_rates,
    output:
        update(LOCK),  # which Snakemake does not delete beforehand: it is written once, mostly by the first `spec`
    priority: 3
    shell:
        "{MPDIT} lock {STUDY:q} --output {output}"


rule table:
    input:
        checked,
        data=lambda wildcards: read_by(TABLES[wildcards.name]),
        figures=lambda wildcards: figures_beside(TABLES[wildcards.name]),
    output:
        in_report("results/{name}.csv", "Tables"),
        multiext("results/{name}", ".md", ".tex"),
    log:
        "results/logs/table/{name}.log",
    wildcard_constraints:
        name=one_of(TABLES),
    params:
        **DRAWN_BY,
        caption=lambda wildcards: goal_of(TABLES[wildcards.name]).artifact.caption,
    shell:
        RENDER


rule figure:
    input:
        checked,
        data=lambda wildcards: read_by(FIGURES[wildcards.name]),
    output:
        in_report("results/figures/{name}.png", "Figures"),
        "results/figures/{name}.pdf",
    log:
        "results/logs/figure/{name}.log",
    wildcard_constraints:
        name=one_of(FIGURES),
    params:
        **DRAWN_BY,
        caption=lambda wildcards: goal_of(FIGURES[wildcards.name]).artifact.caption,
    shell:
        RENDER


localrules:
    configuration,


rule configuration:
    input:
        checked,
        tuned_rates,
    output:
        "results/configuration.yaml",
    params:
        configuration=experiment.configuration,
    run:
        from mpdit.system.files import write_text
        from mpdit.rendering.report import dump

        moved = {"study": os.path.relpath(experiment.study, "results")} if experiment.study else {}
        write_text(output[0], dump({**params.configuration, **moved}))


rule report:
    input:
        checked,
        TABLES.values(),
        FIGURES.values(),
        runs="results/runs.csv",
        configuration="results/configuration.yaml",
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    shell:
        "{MPDIT} report {input.configuration} --results results --runs results/runs --output {output} --log {log}"


# All of it, from what there is now. It declares no files, so it waits for nothing and can run next to another Snakemake.


def alone_or_without_locks(wildcards):
    """No input. When Snakemake ends it removes all locks of the folder, even those of others, so refuse to take one."""
    if workflow.execution_settings.lock and list(Path(".snakemake/locks").glob("*.lock")):
        sys.exit("interim: another Snakemake is running in this folder and would lose its lock; run this with --nolock")
    return []


localrules:
    interim,


rule interim:
    input:
        alone_or_without_locks,
    params:
        configuration=json.dumps(experiment.configuration),
    shell:
        "{MPDIT} interim {params.configuration:q} --runs results/runs --cost results/cost.csv --output results/interim"
