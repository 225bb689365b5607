# Images -> latents, once per data set: in one job, or in `execution.shards` jobs side by side and one that merges them.
#
# The latents are the same either way. Once they are finished no rule makes them again, so a later change of `execution`
# encodes nothing; to encode again, delete their folder.
#
# The declared outputs are the manifest, which is written last, and for each shard an empty file that says it is
# finished. Snakemake deletes declared outputs before it runs a job again; a shard's own manifest and arrays must
# outlive that.

SHARDS = experiment.execution.shards
DECODERS = experiment.execution.encode_workers
ENCODING_GPU = GPU if experiment.data.autoencoder else 0
ENCODE = f"{ON_GPU} encode {{DATA}} --output results/latents/{{wildcards.data}} --device {experiment.execution.device}"
PICTURES = f" --known {KNOWN.format(source=experiment.data_name)}"
UNFINISHED = NOTHING if Path(LATENTS).exists() else re.escape(experiment.data_name)


def finished_shards(data):
    """The files that say that all shards are finished; none where the data set is encoded in one job."""
    finished = "results/latents/{data}/shards/{shard}-of-{shards}/finished"
    return collect(finished, data=data, shard=range(1, SHARDS + 1), shards=SHARDS) if SHARDS > 1 else []


rule index:
    input:
        checked,
    output:
        "results/latents/{data}/shards/index.npz",
    log:
        "results/logs/index/{data}.log",
    wildcard_constraints:
        data=UNFINISHED,
    priority: 2
    shell:
        "{MPDIT} encode {DATA} --output results/latents/{wildcards.data} --list" + PICTURES + " --log {log}"


rule encode_shard:
    input:
        checked,
        ancient("results/latents/{data}/shards/index.npz"),
    output:
        touch("results/latents/{data}/shards/{shard}-of-{shards}/finished"),
    log:
        "results/logs/encode_shard/{data}/{shard}-of-{shards}.log",
    wildcard_constraints:
        data=UNFINISHED,
        shard=r"\d+",
        shards=SHARDS,
    priority: 2
    threads: max(1, DECODERS)
    resources:
        gpu=ENCODING_GPU,
    shell:
        ENCODE + " --shard {wildcards.shard}/{wildcards.shards} --workers {DECODERS} --log {log}"


rule encode:
    input:
        checked,
        lambda wildcards: finished_shards(wildcards.data),
    output:
        "results/latents/{data}/manifest.json",
    log:
        "results/logs/encode/{data}.log",
    wildcard_constraints:
        data=UNFINISHED,
    priority: 2
    threads: 1 if SHARDS > 1 else max(1, DECODERS)
    resources:
        gpu=0 if SHARDS > 1 else ENCODING_GPU,
    params:
        shards=f"--shards {SHARDS}" if SHARDS > 1 else "",
    shell:
        ENCODE + " {params.shards} --workers {DECODERS} --runs results/runs" + PICTURES + " --log {log}"
