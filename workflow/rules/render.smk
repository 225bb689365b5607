# CSVs -> tables and figures, as mpdit.paper registers them. An artefact is drawn from the first of its blocks that the
# configuration has; one whose blocks are all missing is no goal here; one that names no block is drawn from all runs.

BLOCK = {
    name: next((block for block in artefact.experiments if block in experiment.blocks), None)
    for name, artefact in paper.ARTEFACTS.items()
    if not artefact.experiments or set(artefact.experiments) & set(experiment.blocks)
}


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
        plan = experiment.plan(*([block] if block else experiment.blocks))["runs"]
        files += [f"results/runs/{run['run']}/{Path(score).parent}/samples.npz" for run in plan for score in run["scores"]]
    return [f"{folder}/plan.json", *files]


RENDER = (
    "{MPDIT} render {wildcards.name} --data $(dirname {input.data[0]}) --cost results/cost.csv --runs results/runs"
    " --output {output[0]}"
)


rule table:
    input:
        data=lambda wildcards: read_by(wildcards.name),
        # The figures of a table's block come with it.
        figures=lambda wildcards: [FIGURES[name] for name in FIGURES if BLOCK[name] and BLOCK[name] == BLOCK[wildcards.name]],
    output:
        multiext("results/{name}", ".csv", ".md", ".tex"),
    wildcard_constraints:
        name=one_of(TABLES),
    shell:
        RENDER


rule figure:
    input:
        data=lambda wildcards: read_by(wildcards.name),
    output:
        multiext("results/figures/{name}", ".png", ".pdf"),
    wildcard_constraints:
        name=one_of(FIGURES),
    shell:
        RENDER
