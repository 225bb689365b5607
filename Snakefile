# Loads the experiment, constrains the wildcards, includes the rules and names the goals; nothing else.

from snakemake.utils import min_version

min_version("9.10")


include: "workflow/rules/configuration.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/identify.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/trace.smk"
include: "workflow/rules/heldout.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/render.smk"


wildcard_constraints:
    run=one_of(RUNS),
    protocol=one_of(experiment.protocols),
    block=one_of(experiment.blocks),


rule all:
    default_target: True
    input:
        TABLES.values(),
        FIGURES.values(),
        collect("results/{name}.csv", name=AGGREGATES),
        "results/report.html",


rule figures:
    input:
        FIGURES.values(),
