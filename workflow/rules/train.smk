# Spec and latents -> a trained run.
#
# A run's spec.json changes only when its `steps` change (any other change gives the run another name), and training then
# continues from the checkpoint. A run that has ended leaves the rule: latents that are made again, or a spec.json with a
# later date, train nothing. How a run is executed is only in the shell command: it is not part of its identity.

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
# of the inputs, so that a study which names its primary claims later trains nothing again. The rule `lock` writes the
# file where no run had to be begun after that: it then says that it came late, and no claim is primary.
LOCK_STUDY = "{MPDIT} lock {STUDY:q} --run {wildcards.run} --output {LOCK} && " if experiment.claims.primary else ""
# For runs of earlier versions, which have no copy of trained.json, before Snakemake deletes it to train more steps.
KEEP_OUTCOME = " && cd $(dirname {output}) && if [ -e trained.json ]; then cp trained.json outcome.json; fi"


rule spec:
    input:
        checked,
        rates_of_study,
    output:
        "results/runs/{run}/spec.json",
    priority: 2  # so that no core starts a short job while a run could be started
    params:
        spec=lambda wildcards: json.dumps(RUNS[wildcards.run].to_json()),
    shell:
        LOCK_STUDY + "printf '%s\\n' {params.spec:q} > {output}" + KEEP_OUTCOME


rule train:
    input:
        checked,
        spec="results/runs/{run}/spec.json",
        latents=ancient(LATENTS),
    output:
        "results/runs/{run}/trained.json",
    log:  # of the last attempt only, as Snakemake deletes it before each; the run's train.log has all
        "results/logs/train/{run}.log",
    wildcard_constraints:
        run=one_of(name for name in RUNS if name not in FINISHED),
    priority: 1  # long jobs first
    threads: experiment.execution.threads * experiment.execution.devices  # one process per device
    resources:
        gpu=GPUS,
    shell:
        ON_GPU + " train {input.spec} --latents $(dirname {input.latents}) --output {output} {EXECUTION} {COMPILE}"
        " {STUDY_FILE} --log {log}"


if Path(LATENTS).exists():

    ruleorder: train > trained  # in a job's own process, which does not look which runs have ended, both have all runs

    # So that the trained.json of a run that has ended can be asked for by name. It is there, so the job never runs, but
    # where it is forced to: then it finds nothing to do.
    use rule train as trained with:
        input:
            checked,
            spec=ancient("results/runs/{run}/spec.json"),
            latents=ancient(LATENTS),
        output:
            update("results/runs/{run}/trained.json"),  # which Snakemake does not delete beforehand
        wildcard_constraints:
            run=one_of(FINISHED if workflow.is_main_process else RUNS),
