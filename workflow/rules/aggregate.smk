# Finished runs -> one CSV per subject: for each block of `experiments:`, and for all blocks in results/ itself.
# Configurations and modulations of the whole grid -> relative step time.


def finished(*blocks):
    """All files of the runs of these blocks that the aggregation reads."""
    return [
        f"results/runs/{run.run}/{file}"
        for run in experiment.planned_runs(*blocks)
        for file in ("trained.json", "magnitudes.csv", *HELDOUT_FILES, *run.scores)
    ]


AGGREGATE = "{MPDIT} aggregate {input.plan} --runs results/runs" + (" --heldout" if HELDOUT_FILES else "")


from mpdit.rendering.registry import claim_bounds
from mpdit.results.study_lock import planned_study


def write_plan(plan, path):
    from mpdit.system.files import write_json

    write_json(path, plan)


localrules:
    plan,
    plan_all,


rule plan:
    input:
        checked,
        tuned_rates,
    output:
        "results/experiments/{block}/plan.json",
    params:
        plan=lambda wildcards: experiment.plan(wildcards.block),
    run:
        write_plan(params.plan, output[0])


rule aggregate:
    input:
        checked,
        lambda wildcards: finished(wildcards.block),
        plan="results/experiments/{block}/plan.json",
    output:
        collect("results/experiments/{{block}}/{name}.csv", name=AGGREGATES),
    log:
        "results/logs/aggregate/{block}.log",
    shell:
        AGGREGATE + " --output results/experiments/{wildcards.block} --log {log}"


rule plan_all:
    input:
        checked,
        tuned_rates,
    output:
        "results/plan.json",
    params:
        plan={**experiment.plan(*experiment.blocks), **planned_study(experiment, claim_bounds())},
    run:
        write_plan(params.plan, output[0])


rule aggregate_all:
    input:
        checked,
        finished(*experiment.blocks),
        plan="results/plan.json",
    output:
        collect("results/{name}.csv", name=AGGREGATES),
    log:
        "results/logs/aggregate_all.log",
    shell:
        AGGREGATE + " --output results --log {log}"


# All cores of this machine, if the job runs here: step times are measured while nothing else runs. It waits until no other
# job is left that could start, so the scores do not wait for it.
ALONE = (workflow.local_exec and workflow.resource_settings.cores) or experiment.execution.threads


# So that a part of the study which computes something else is measured again.
OWN_PARTS = sorted({json.dumps(run.parts, sort_keys=True) for run in experiment.runs.values() if run.parts})


rule cost:
    input:
        checked,
        tuned_rates,
        latents=ancient(LATENTS),
    output:
        "results/cost.csv",
    log:
        "results/logs/cost.log",
    threads: ALONE
    resources:
        gpu=GPU,
    params:
        **({"parts": OWN_PARTS} if OWN_PARTS else {}),
        measured=options(experiment.measured()),
    shell:
        ON_GPU + " cost {params.measured} --latents $(dirname {input.latents}) --device {experiment.execution.device}"
        " {COMPILE} --output {output} {STUDY_FILE} --log {log}"
