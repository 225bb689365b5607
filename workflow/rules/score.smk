# Statistics of real images, once per data set and number of samples; distances of samples from them.

from mpdit.experiment.features import file_name

FEATURES = experiment.scoring.features
WEIGHTS = options({"weights": experiment.scoring.weights})
AGAINST = options({"reference": experiment.scoring.reference})
REFERENCE = f"results/reference/{experiment.reference_name}-{file_name(FEATURES)}-n{{sample_count}}.npz"
REAL = KNOWN.format(source=experiment.reference_name)


rule reference:
    input:
        checked,
        experiment.statistics,  # images are not listed: moving or touching them rebuilds nothing
    output:
        REFERENCE,
    log:
        "results/logs/reference/n{sample_count}.log",
    wildcard_constraints:
        sample_count=r"\d+",
    resources:
        gpu=GPU,
    shell:
        ON_GPU + " reference {DATA} {AGAINST} --features {FEATURES} {WEIGHTS} --count {wildcards.sample_count}"
        " --known {REAL} --device {experiment.execution.device} --output {output} {STUDY_FILE} --log {log}"


rule score:
    input:
        checked,
        samples="results/runs/{run}/samples/{protocol}/samples.npz",
        reference=lambda wildcards: REFERENCE.format(sample_count=experiment.protocols[wildcards.protocol].count),
    output:
        f"results/runs/{{run}}/samples/{{protocol}}/{experiment.score_file}",
    log:
        "results/logs/score/{run}/{protocol}.log",
    resources:
        gpu=GPU,
    shell:
        ON_GPU + " score {input.samples} --reference {input.reference} --known {REAL} {WEIGHTS}"
        " --device {experiment.execution.device} --output {output} {STUDY_FILE} --log {log}"
