# Spec and latents -> a trained run.
#
# A run's spec.json changes only when its `steps` change (any other change gives the run another name), and training then
# continues from the checkpoint. How a run is executed is only in the shell command: it is not part of its identity.

EXECUTION = options(
    {
        key: getattr(experiment.execution, key)
        for key in ("device", "devices", "threads", "log_every", "checkpoint_every")
    }
)
COMPILE = {None: "", True: "--compile", False: "--no-compile"}[experiment.execution.compile]


localrules:
    spec,


def rates_of_study(wildcards):
    return [] if wildcards.run in TUNING_RUNS else tuned_rates(wildcards)


# Once, before the first run of a study with primary claims: what the study has fixed. Part of the shell command and not
# of the inputs, so that a study which names its primary claims later trains nothing again.
LOCK_STUDY = (
    "{MPDIT} lock {STUDY:q} --run {wildcards.run} --output results/study-lock.json && "
    if experiment.claims.primary
    else ""
)


rule spec:
    input:
        rates_of_study,
    output:
        "results/runs/{run}/spec.json",
    priority: 2  # so that no core starts a short job while a run could be started
    params:
        spec=lambda wildcards: json.dumps(RUNS[wildcards.run].to_json()),
    shell:
        LOCK_STUDY + "printf '%s\\n' {params.spec:q} > {output}"


rule train:
    input:
        spec="results/runs/{run}/spec.json",
        latents=ancient(LATENTS),
    output:
        "results/runs/{run}/trained.json",
    log:  # of the last attempt only, as Snakemake deletes it before each; the run's train.log has all
        "results/logs/train/{run}.log",
    priority: 1  # long jobs first
    threads: experiment.execution.threads * experiment.execution.devices  # one process per device
    resources:
        gpu=GPUS,
    shell:
        ON_GPU + " train {input.spec} --latents $(dirname {input.latents}) --output {output} {EXECUTION} {COMPILE}"
        " --log {log}"
