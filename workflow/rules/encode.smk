# Images -> latents, once a data set. Only the manifest, written last, is declared.


rule encode:
    output:
        "results/latents/{data}/manifest.json",
    wildcard_constraints:
        data=re.escape(experiment.data_name),
    priority: 2
    resources:
        gpu=GPU if experiment.data["autoencoder"] else 0,
    shell:
        ON_GPU + " encode {DATA} --output results/latents/{wildcards.data}"
