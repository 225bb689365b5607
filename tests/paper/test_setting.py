"""Which runs are the paper's own."""

from mpdit.experiment.grid import Experiment
from mpdit.paper.setting import is_in_paper_setting

PAPER = {
    "data": {
        "name": "imagenet128", "source": "folder", "path": "train", "resolution": 128, "autoencoder": "x/sd-vae-ft-mse",
    },
    "training": {},
    "learning_rates": {"A": 1e-4, "E": 1e-2},
    "experiments": {
        "table1": {"model": ["DiT-S/2"], "config": ["A", "E"], "modulation": ["scale_shift"], "seed": [0]},
        "learning_rate": {
            "model": ["DiT-S/2"], "config": ["E"], "modulation": ["scale_shift"], "seed": [0], "lr": [1e-4, 1e-2],
        },
    },
}  # fmt: skip


def in_paper_setting(**changes) -> dict[tuple[str, float], bool]:
    """By config and rate, whether each run of PAPER with some sections replaced is in the paper's setting."""
    runs = Experiment({**PAPER, **changes}).runs.values()
    return {(run.config, run.lr): is_in_paper_setting(run) for run in runs}


def test_the_papers_setting_is_its_data_recipe_and_rate():
    expected = {("A", 1e-4): True, ("E", 1e-2): True, ("E", 1e-4): False}
    assert in_paper_setting() == expected
    assert in_paper_setting(sampling={"count": 5_000, "ema_width": [0.05, 0.1]}) == expected  # a matter of the scores
    assert in_paper_setting(training={"precision": "float32", "snapshots": 16}) == expected
    for change in ({"steps": 100_000}, {"batch_size": 128}, {"warmup_steps": 0}, {"betas": [0.9, 0.999]}):
        assert not any(in_paper_setting(training=change).values()), change
    for change in ({"resolution": 64}, {"name": "imagenet"}, {"autoencoder": "x/sd-vae-ft-ema"}, {"holdout": 5}):
        assert not any(in_paper_setting(data={**PAPER["data"], **change}).values()), change
    assert not any(in_paper_setting(data={**PAPER["data"], "autoencoder": None}).values())


def test_the_plan_records_it():
    plan = Experiment(PAPER).plan("table1", "learning_rate")
    assert {(run["config"], run["lr"]): run["paper_setting"] for run in plan["runs"]} == in_paper_setting()
