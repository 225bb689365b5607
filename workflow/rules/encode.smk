# Images -> latents, once a data set: in one job, or in `execution.shards` that run side by side and one that merges them.
#
# The store is the same however it was made. Once it is finished no rule makes it any more, so a later change of
# `execution` encodes nothing anew; to have that done, delete its folder.
#
# Declared are the manifest, written last, and of each shard an empty file which says that it is finished: Snakemake
# deletes what a job declares before it tries again, and the shards' own manifests and arrays must outlive that.

SHARDS = experiment.execution.shards
DECODERS = experiment.execution.encode_workers
ENCODING_GPU = GPU if experiment.data.autoencoder else 0
ENCODE = f"{ON_GPU} encode {{DATA}} --output results/latents/{{wildcards.data}} --device {experiment.execution.device}"
UNFINISHED = "(?!)" if Path(LATENTS).exists() else re.escape(experiment.data_name)  # the former matches nothing


def parts(data):
    """What the store is made of, where that is more than one shard."""
    finished = "results/latents/{data}/shards/{shard}-of-{shards}/finished"
    return collect(finished, data=data, shard=range(1, SHARDS + 1), shards=SHARDS) if SHARDS > 1 else []


rule index:
    output:
        "results/latents/{data}/shards/index.npz",
    log:
        "results/logs/index/{data}.log",
    wildcard_constraints:
        data=UNFINISHED,
    priority: 2
    shell:
        "{MPDIT} encode {DATA} --output results/latents/{wildcards.data} --list --log {log}"


rule encode_shard:
    input:
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
        lambda wildcards: parts(wildcards.data),
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
        ENCODE + " {params.shards} --workers {DECODERS} --log {log}"
