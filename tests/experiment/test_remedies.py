"""What is said about a damaged file names the goal that makes it again."""

import pytest

from mpdit.experiment.remedies import remedy

GOALS = {
    "runs/a/magnitudes.csv": "delete it and run `snakemake --cores all results/runs/a/magnitudes.csv`",
    "runs/a/samples/p/samples.npz": "delete it and run `snakemake --cores all results/runs/a/samples/p/samples.npz`",
    "runs/a/spec.json": "delete it and run `snakemake --cores all results/runs/a/spec.json`",
    "runs/a/trained.json": "delete it and run `snakemake --cores all results/runs/a/trained.json`, which goes on from "
    "the last checkpoint",
    "runs/a/training.csv": "delete it and trained.json, then run `snakemake --cores all results/runs/a/trained.json`, "
    "which goes on from the last checkpoint",
    "runs/a/snapshots/step-00000001-plain.safetensors": "restore it from a copy, or train the run again: delete "
    "results/runs/a and run `snakemake --cores all results/runs/a/trained.json`",
    "sources/digits-1.json": "delete it: Snakemake lists the pictures again before it uses them",
    "latents/digits-1/mean.npy": "delete results/latents/digits-1 and run `snakemake --cores all "
    "results/latents/digits-1/manifest.json`",
    "latents/digits-1/shards/2-of-3/mean.npy": "delete results/latents/digits-1/shards/2-of-3 and run `snakemake "
    "--cores all results/latents/digits-1/manifest.json`",
    "reference/digits.npz": "delete it and run `snakemake --cores all results/reference/digits.npz`",
    "experiments/table1/plan.json": "delete it and run `snakemake --cores all results/experiments/table1/plan.json`",
    "figures/loss.png": "delete it and run `snakemake --cores all results/figures/loss.png`",
    "interim/runs.csv": "run `snakemake --cores 1 interim` again",
    "fid.csv": "delete it and run `snakemake --cores all results/fid.csv`",
    "samples.npz": "restore it from a copy, or delete it and run `snakemake` again",
}  # fmt: skip


@pytest.mark.parametrize("file", GOALS)
@pytest.mark.parametrize("folder", ["results", "/data/other/results-of-may"])
def test_the_remedy_names_the_goal_wherever_the_results_are(file, folder):
    assert remedy(f"{folder}/{file}") == GOALS[file]


def test_the_record_of_samples_is_made_again_with_them():
    assert remedy("results/runs/a/samples/p/protocol.json") == (
        "delete it and results/runs/a/samples/p/samples.npz, then run `snakemake --cores all "
        "results/runs/a/samples/p/samples.npz`"
    )
