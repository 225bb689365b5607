"""The workflow of a study with held-out pictures."""

import numpy as np
import pandas as pd
import pytest
from helpers.projects import STEPS, TINY, jobs, make_project, runs, snakemake, tiny_study, write_config

from mpdit.data.latents import Latents

pytestmark = pytest.mark.slow

HELDOUT = {**tiny_study(data={"holdout": 4}), "heldout": {"snapshots": 2}}
LOSSES, IMAGES, TABLE = "results/heldout.csv", "results/heldout_images.csv", "results/table1.csv"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in which the held-out losses have been measured and aggregated, and Table 1 has been made."""
    project = make_project(tmp_path_factory.mktemp("heldout") / "project", HELDOUT)
    snakemake(project, LOSSES, TABLE)
    return project


def test_held_out_losses_are_aggregated_over_runs(project):
    losses, images = pd.read_csv(project / LOSSES), pd.read_csv(project / IMAGES)
    assert set(losses["run"]) == set(images["run"]) == {run.name for run in runs(project).values()}
    last = losses[losses["step"] == losses["step"].max()]
    assert set(last["part"]) == {"tune", "report", "train"}
    assert last["ema_width"].drop_duplicates().tolist() == pytest.approx([0.05, 0.1, np.nan], nan_ok=True)
    assert (losses["images"] == 20).all()
    reported = last[last["part"] == "report"].set_index(["run", "ema_width"])["loss"]
    means = images.groupby(["run", "ema_width"], dropna=False)["loss"].mean()
    assert np.allclose(means.sort_index(), reported.sort_index(), rtol=1e-7)


def test_no_held_out_picture_is_trained_on_or_in_the_reference(project):
    train, heldout = sorted((project / "results/latents").iterdir())
    assert heldout.name == f"{train.name}-heldout"
    train, heldout = Latents(train), Latents(heldout)
    assert (train.count, heldout.count) == (260, 40)
    assert not {row.tobytes() for row in train.mean} & {row.tobytes() for row in heldout.mean}
    fid = pd.concat(pd.read_csv(path) for path in (project / "results/runs").glob("*/samples/*/fid-*.csv"))
    assert set(fid["reference_count"]) == {260}


def test_the_table_and_its_figures_show_held_out_losses(project):
    table, losses = pd.read_csv(project / TABLE), pd.read_csv(project / LOSSES)
    shown = losses[(losses["part"] == "report") & (losses["ema_width"] == 0.05) & (losses["step"] == STEPS)]
    ours = table[table["config"].isin(["A", "E"])]["heldout_loss_mean"]
    assert sorted(ours.dropna()) == pytest.approx(sorted(shown["loss"]), rel=1e-4)
    assert (project / "results/figures/heldout_loss.png").exists()


def test_another_number_of_draws_measures_again_and_trains_nothing(project):
    assert jobs(project, LOSSES, TABLE) == {}
    write_config(project, {**HELDOUT, "heldout": {"snapshots": 2, "draws": 40}})
    try:
        assert jobs(project, LOSSES) == {"heldout": 2, "aggregate_all": 1}
    finally:
        write_config(project, HELDOUT)


def test_other_numbers_of_held_out_pictures_make_other_runs(project):
    write_config(project, {**HELDOUT, "data": {**HELDOUT["data"], "holdout": 5}})
    try:
        again = jobs(project, LOSSES)
    finally:
        write_config(project, HELDOUT)
    assert again["train"] == 2
    assert again["encode"] == again["encode_heldout"] == 1


def test_a_study_without_held_out_pictures_measures_none(project):
    write_config(project, TINY)
    try:
        planned = jobs(project)
    finally:
        write_config(project, HELDOUT)
    assert not {"heldout", "encode_heldout"} & planned.keys()
