# Learning rates and EMA widths, with the same budget for every model, configuration and modulation: `snakemake tune`.
#
# A search goes in rounds. Which rates a round tries follows from the held-out losses of the rounds before it, so each
# round is a checkpoint: its file lists the rates, and Snakemake plans their runs once it is there. All runs that a search
# may reach are enumerated when the workflow is parsed; they are ordinary runs, trained by the rule that trains all others.

from mpdit.experiment.tuning import rounds
from mpdit.results.tuning import read_rungs

ROUNDS = rounds(experiment.tuning.rates)


def losses_of_rounds(setting, count):
    """The held-out losses of all runs that the first rounds of a search ask for."""
    files = [checkpoints.tuning_round.get(setting=setting, round=number).output[0] for number in range(count)]
    try:
        rungs = read_rungs(files)
    except UserError as error:  # exits, because Snakemake takes a rule as made whose input function raises
        sys.exit(str(error))
    return [f"results/runs/{run.name}/heldout.csv" for run in SEARCHES[setting].runs(rungs)]


def losses_of_all(wildcards):
    if not SEARCHES:
        sys.exit("tune: needs held-out pictures (data.holdout) and a block that names no lr")
    return [file for setting in SEARCHES for file in losses_of_rounds(setting, ROUNDS)]


localrules:
    tuning_round,


checkpoint tuning_round:
    input:
        checked,
        lambda wildcards: losses_of_rounds(wildcards.setting, int(wildcards.round)),
    output:
        "results/tuning/{setting}/round-{round}.json",
    wildcard_constraints:
        setting=one_of(SEARCHES),
        round=r"\d+",
    params:
        study=STUDY,
    shell:
        "{MPDIT} tune {params.study:q} --setting {wildcards.setting} --round {wildcards.round} --output {output}"


rule rates:
    input:
        checked,
        losses_of_all,
    output:
        rates="results/rates.csv",
        table=multiext("results/tuning", ".csv", ".md", ".tex"),
        figure=multiext("results/figures/tuning", ".png", ".pdf"),
    log:
        "results/logs/rates.log",
    params:
        study=STUDY,
    shell:
        "{MPDIT} tune {params.study:q} --output {output.rates} --table {output.table[0]} --figure {output.figure[0]}"
        " --log {log}"


rule tune:
    input:
        "results/rates.csv",
