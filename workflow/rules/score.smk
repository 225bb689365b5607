# Real images -> reference statistics, once a data set; images and reference -> distances.

FEATURES = experiment.scoring.features
WEIGHTS = options({"weights": experiment.scoring.weights})
AGAINST = options({"reference": experiment.scoring.reference})
REFERENCE = f"results/reference/{experiment.reference_name}-{FEATURES}-n{{drawn}}.npz"


rule reference:
    input:
        experiment.statistics,  # images are named by their path alone: moving or touching them makes nothing anew
    output:
        REFERENCE,
    log:
        "results/logs/reference/n{drawn}.log",
    wildcard_constraints:
        drawn=r"\d+",
    resources:
        gpu=GPU,
    shell:
        ON_GPU + " reference {DATA} {AGAINST} --features {FEATURES} {WEIGHTS} --count {wildcards.drawn}"
        " --device {experiment.execution.device} --output {output} --log {log}"


rule score:
    input:
        samples="results/runs/{run}/samples/{protocol}/samples.npz",
        reference=lambda wildcards: REFERENCE.format(drawn=experiment.protocols[wildcards.protocol].count),
    output:
        f"results/runs/{{run}}/samples/{{protocol}}/{experiment.score_file}",
    log:
        "results/logs/score/{run}/{protocol}.log",
    resources:
        gpu=GPU,
    shell:
        ON_GPU + " score {input.samples} --reference {input.reference} {WEIGHTS}"
        " --device {experiment.execution.device} --output {output} --log {log}"
