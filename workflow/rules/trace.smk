# Magnitudes of a trained run's activations and weights.

TRACING = options(experiment.tracing.to_json())
TRACED = traced(FINISHED, Path("results/runs")) if LATENTS_ARE_GONE else []


rule trace:
    input:
        checked,
        trained="results/runs/{run}/trained.json",
        latents=ancient(LATENTS),
    output:
        "results/runs/{run}/magnitudes.csv",
    log:
        "results/logs/trace/{run}.log",
    wildcard_constraints:
        run=one_of(run for run in RUNS if run not in TRACED),
    resources:
        gpu=GPU,
    shell:
        ON_GPU + " trace $(dirname {input.trained}) --latents $(dirname {input.latents}) {TRACING}"
        " --device {experiment.execution.device} --output {output} {STUDY_FILE} --log {log}"
