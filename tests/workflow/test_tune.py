"""`snakemake tune`: rounds of a search, the rates that it finds, and what happens without them."""

import csv
import json

import pytest
from helpers.projects import jobs, make_project, snakemake, tiny_study, write_config

pytestmark = pytest.mark.slow

BUDGET = 6
STUDY = {
    **tiny_study(data={"holdout": 4}, training={"steps": 8, "snapshots": 4, "warmup_steps": 2, "decay_start": 4}),
    "tuning": {"rates": BUDGET, "seeds": [1000], "start": {"A": 0.01, "E": 0.05}},
    "learning_rates": "rates.csv",
    "experiments": {"table1": {"model": "DiT-Nano/4", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0]}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("tune") / "project", STUDY)


def test_a_study_is_tuned_and_then_run_at_the_rates_that_were_found(project):
    refused = snakemake(project, "results/table1.csv", check=False)
    assert refused.returncode != 0 and not (project / "results").exists()
    message = "learning_rates: rates.csv: no such file; run `snakemake --cores all tune`, which makes results/rates.csv"
    assert message in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr

    snakemake(project, "tune")
    with open(project / "results/rates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for config in ("A", "E"):
        tried = {row["lr"] for row in rows if row["config"] == config}
        assert len(tried) == BUDGET
        assert sum(row["chosen"] == "True" for row in rows if row["config"] == config) == 1
    specs = [json.loads(path.read_text()) for path in (project / "results/runs").glob("*/spec.json")]
    assert len(specs) == 2 * BUDGET and {spec["seed"] for spec in specs} == {1000}
    for file in ("tuning.csv", "tuning.md", "tuning.tex", "figures/tuning.png", "figures/tuning.pdf"):
        assert (project / "results" / file).stat().st_size > 0
    assert jobs(project, "tune") == {}

    (project / "rates.csv").write_text((project / "results/rates.csv").read_text())
    planned = jobs(project, "results/runs.csv")
    assert planned["train"] == 2
    assert jobs(project, "tune") == {}, "naming the rates changes nothing of what was tuned"


def test_a_study_without_held_out_pictures_cannot_be_tuned(project):
    write_config(
        project, {**STUDY, "data": {**STUDY["data"], "holdout": None}, "learning_rates": {"A": 1e-3, "E": 1e-2}}
    )
    try:
        refused = snakemake(project, "tune", check=False)
    finally:
        write_config(project, STUDY)
    assert refused.returncode != 0
    assert "tune: needs held-out pictures (data.holdout)" in refused.stdout + refused.stderr
