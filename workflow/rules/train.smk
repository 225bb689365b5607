# Spec and latents -> a trained run.
#
# spec.json changes only when the run's `steps` do (anything else gives the run another name), and training then goes on
# from its checkpoint. How a run is executed stands in the shell command: it is no part of what the run is.

EXECUTION = options(
    {
        key: getattr(experiment.execution, key)
        for key in ("device", "devices", "threads", "log_every", "checkpoint_every")
    }
)
COMPILE = {None: "", True: "--compile", False: "--no-compile"}[experiment.execution.compile]


localrules:
    spec,


rule spec:
    output:
        "results/runs/{run}/spec.json",
    priority: 2  # so that no core takes up a short job while a run has yet to begin
    params:
        spec=lambda wildcards: json.dumps(experiment.runs[wildcards.run].to_json()),
    shell:
        "printf '%s\\n' {params.spec:q} > {output}"


rule train:
    input:
        spec="results/runs/{run}/spec.json",
        latents=ancient(LATENTS),
    output:
        "results/runs/{run}/trained.json",
    log:  # of the last attempt, as Snakemake deletes it before each; the run's own train.log holds them all
        "results/logs/train/{run}.log",
    priority: 1  # the long jobs first
    threads: experiment.execution.threads * experiment.execution.devices  # each device has its process
    resources:
        gpu=GPUS,
    shell:
        ON_GPU + " train {input.spec} --latents $(dirname {input.latents}) --output {output} {EXECUTION} {COMPILE}"
        " --log {log}"
