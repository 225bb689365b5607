# Pictures that are never trained on -> latents; a trained run and these -> its loss on them.
#
# Only in a study whose `data.holdout` withholds pictures or names others.

from mpdit.experiment.heldout_widths import heldout_widths

HELDOUT = f"results/latents/{experiment.heldout_name}/manifest.json"
# Withheld pictures are among those of `data.path`.
HELDOUT_PICTURES = KNOWN.format(
    source=experiment.data_name if isinstance(experiment.data.holdout, int) else experiment.heldout_name
)
HELDOUT_FILES = ("heldout.csv", "heldout_images.csv") if experiment.heldout_name else ()  # of each run
HELDOUT_IS_GONE = LATENTS_ARE_GONE or (workflow.is_main_process and not Path(HELDOUT).exists())
MEASURED = measured(FINISHED, Path("results/runs"), experiment.heldout.draws) if HELDOUT_IS_GONE else []


def heldout_options(run):
    """What is measured of a run; of one that only tuning needs, no more than tuning reads."""
    heldout, tuned = experiment.heldout, experiment.tuning.ema_widths if run in TUNING_RUNS else ()
    if run not in experiment.runs:
        return options({"ema_widths": list(tuned), "draws": heldout.draws, "parts": "tune"}) + " --last-only"
    widths = dict.fromkeys([*heldout_widths(experiment, experiment.runs[run]), *tuned])
    names = ["none" if width is None else width for width in widths]
    return options({"ema_widths": names, "draws": heldout.draws, "snapshots": heldout.snapshots})


if experiment.heldout_name:

    rule encode_heldout:
        input:
            checked,
        output:
            HELDOUT,
        log:
            "results/logs/encode_heldout.log",
        priority: 2
        threads: max(1, DECODERS)
        resources:
            gpu=ENCODING_GPU,
        shell:
            ON_GPU + " encode {DATA} --heldout --output $(dirname {output}) --workers {DECODERS}"
            " --device {experiment.execution.device} --known {HELDOUT_PICTURES} --log {log}"

    rule heldout:
        input:
            checked,
            trained="results/runs/{run}/trained.json",
            latents=ancient(LATENTS),
            heldout=ancient(HELDOUT),
        output:
            collect("results/runs/{{run}}/{file}", file=HELDOUT_FILES),
        log:
            "results/logs/heldout/{run}.log",
        wildcard_constraints:
            run=one_of(run for run in RUNS if run not in MEASURED),
        resources:
            gpu=GPU,
        params:
            measured=lambda wildcards: heldout_options(wildcards.run),
        shell:
            ON_GPU + " heldout $(dirname {input.trained}) --latents $(dirname {input.latents})"
            " --heldout $(dirname {input.heldout}) {params.measured} --device {experiment.execution.device}"
            " --output {output[0]} {STUDY_FILE} --log {log}"
