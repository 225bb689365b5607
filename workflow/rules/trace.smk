# Magnitudes of a trained run's activations and weights.

TRACING = options(experiment.tracing.to_json())


rule trace:
    input:
        trained="results/runs/{run}/trained.json",
        latents=ancient(LATENTS),
    output:
        "results/runs/{run}/magnitudes.csv",
    log:
        "results/logs/trace/{run}.log",
    resources:
        gpu=GPU,
    shell:
        ON_GPU + " trace $(dirname {input.trained}) --latents $(dirname {input.latents}) {TRACING}"
        " --device {experiment.execution.device} --output {output} --log {log}"
