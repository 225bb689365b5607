# Images of a trained run, once per protocol. The names of run and protocol hold everything that decides the images, so a
# newer trained.json (of the same run, continued) makes no samples stale.

SAMPLED = sampled(experiment, Path("results/runs")) if LATENTS_ARE_GONE else []


rule sample:
    input:
        checked,
        trained=ancient("results/runs/{run}/trained.json"),
        latents=ancient(LATENTS),
    output:
        samples="results/runs/{run}/samples/{protocol}/samples.npz",
        grid="results/runs/{run}/samples/{protocol}/grid.png",
    log:
        "results/logs/sample/{run}/{protocol}.log",
    wildcard_constraints:
        run=f"(?!(?:{one_of(SAMPLED)})/)(?:{one_of(RUNS)})",
    threads: experiment.execution.threads
    resources:
        gpu=GPU,
    params:
        protocol=lambda wildcards: options(experiment.protocols[wildcards.protocol].options()),
    shell:
        ON_GPU + " sample $(dirname {input.trained}) --latents $(dirname {input.latents}) {params.protocol}"
        " --batch-size {experiment.execution.sampling_batch} --device {experiment.execution.device}"
        " --output $(dirname {output.samples}) {STUDY_FILE} --log {log}"
