# Images -> latents, once a data set. Only the manifest, written last, is declared.


rule encode:
    output:
        "results/latents/{data}/manifest.json",
    wildcard_constraints:
        data=re.escape(experiment.data_name),
    priority: 2
    shell:
        "{MPDIT} encode {DATA} --output results/latents/{wildcards.data}"
