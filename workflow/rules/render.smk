# CSVs -> tables and figures, as mpdit.paper registers them. An artefact is drawn from the first of its blocks that the
# configuration has; one whose blocks are all missing is no goal here.

BLOCK = {
    name: next(block for block in artefact.experiments if block in experiment.blocks)
    for name, artefact in paper.ARTEFACTS.items()
    if set(artefact.experiments) & set(experiment.blocks)
}


def goals(kind, folder, suffix):
    return {name: f"{folder}/{name}{suffix}" for name in BLOCK if paper.ARTEFACTS[name].kind == kind}


TABLES = goals("table", "results", ".csv")
FIGURES = goals("figure", "results/figures", ".png")


def read_by(name):
    """The aggregates that an artefact reads; `samples` are the images of its block's runs."""
    block, subjects = BLOCK[name], paper.ARTEFACTS[name].reads
    files = [f"results/experiments/{block}/{subject}.csv" for subject in subjects if subject != "samples"]
    if "samples" in subjects:
        plan = experiment.plan(block)["runs"]
        files += [f"results/runs/{run['run']}/{Path(score).parent}/samples.npz" for run in plan for score in run["scores"]]
    return [f"results/experiments/{block}/plan.json", *files]


RENDER = "{MPDIT} render {wildcards.name} --data $(dirname {input.data[0]}) --runs results/runs --output {output[0]}"


rule table:
    input:
        data=lambda wildcards: read_by(wildcards.name),
        # The figures of a table's block come with it.
        figures=lambda wildcards: [FIGURES[name] for name in FIGURES if BLOCK[name] == BLOCK[wildcards.name]],
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
