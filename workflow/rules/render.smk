# CSVs -> tables and figures, as mpdit.paper registers them, and the report that holds them all.

BLOCK = paper.goals(experiment.blocks)  # name of each artefact: the block it is drawn from; None: all runs


def goals(kind, folder, suffix):
    return {name: f"{folder}/{name}{suffix}" for name in BLOCK if paper.ARTEFACTS[name].kind == kind}


TABLES = goals("table", "results", ".csv")
FIGURES = goals("figure", "results/figures", ".png")


def read_by(name):
    """The aggregates that an artefact reads, the plan of its runs first; `samples` are the images of its block's runs."""
    block, subjects = BLOCK[name], paper.ARTEFACTS[name].reads
    folder = "results" if block is None else f"results/experiments/{block}"
    files = [f"{folder}/{subject}.csv" for subject in subjects if subject not in ("samples", "cost")]
    if "cost" in subjects:
        files.append("results/cost.csv")
    if "samples" in subjects:
        runs = experiment.planned_runs(*([block] if block else experiment.blocks))
        files += [f"results/runs/{run.run}/{Path(score).parent}/samples.npz" for run in runs for score in run.scores]
    return [f"{folder}/plan.json", *files]


def in_report(file, category):
    """A file that `snakemake --report` shows, under the caption that the job has among its params."""
    return report(file, caption="../report/caption.rst", category=category, labels={"name": "{name}"})


def caption(wildcards):
    return paper.ARTEFACTS[wildcards.name].caption


RENDER = (
    "{MPDIT} render {wildcards.name} --data $(dirname {input.data[0]}) --cost results/cost.csv --runs results/runs"
    " --output {output[0]} --log {log}"
)


rule table:
    input:
        data=lambda wildcards: read_by(wildcards.name),
        # The figures of a table's block come with it.
        figures=lambda wildcards: [
            FIGURES[name] for name in FIGURES if BLOCK[name] and BLOCK[name] == BLOCK[wildcards.name]
        ],
    output:
        in_report("results/{name}.csv", "Tables"),
        multiext("results/{name}", ".md", ".tex"),
    log:
        "results/logs/table/{name}.log",
    wildcard_constraints:
        name=one_of(TABLES),
    params:
        caption=caption,
    shell:
        RENDER


rule figure:
    input:
        data=lambda wildcards: read_by(wildcards.name),
    output:
        in_report("results/figures/{name}.png", "Figures"),
        "results/figures/{name}.pdf",
    log:
        "results/logs/figure/{name}.log",
    wildcard_constraints:
        name=one_of(FIGURES),
    params:
        caption=caption,
    shell:
        RENDER


localrules:
    configuration,


rule configuration:
    output:
        "results/configuration.yaml",
    params:
        configuration=experiment.configuration,
    run:
        from mpdit.system.files import write_text
        from mpdit.rendering.report import dump

        write_text(output[0], dump(params.configuration))


rule report:
    input:
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


# All of it from what is there now. It declares no files: it waits for nothing, and can run beside another Snakemake.


def alone_or_without_locks(wildcards):
    """No input. When Snakemake ends it removes all locks of the folder, those of others as well: refuse to do that."""
    if workflow.execution_settings.lock and list(Path(".snakemake/locks").glob("*.lock")):
        sys.exit("interim: another Snakemake works in this folder and would lose its lock: must be run with --nolock")
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
