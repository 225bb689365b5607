"""What a study could not do is found when its configuration is read, before any job."""

import pytest
from helpers.autoencoders import save_autoencoder
from helpers.projects import tiny_study

from mpdit.experiment import Experiment
from mpdit.system.errors import UserError

DATA = {"name": "tiny", "source": "zip", "path": "digits.zip", "resolution": 8}
BLOCK = {"model": "DiT-Nano/4", "config": "E", "modulation": "scale_shift", "seed": 0}


def message(**sections) -> str:
    with pytest.raises(UserError) as error:
        Experiment(tiny_study(**sections))
    return str(error.value)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"data": {"resolution": 10}},
         "data.resolution: expected a multiple of 4, the patch of DiT-Nano/4 in experiments.table1, got 10"),
        ({"sampling": {"count": 1}}, "sampling.count: expected a whole number of at least 2, got 1"),
        ({"scoring": {"weights": "inception.pth"}},
         "scoring.weights: expected null for efficientnet-lite0, whose weights are built in, got 'inception.pth'; only "
         "inception takes a file"),
        ({"scoring": {"reference": "{run}.npz"}},
         "scoring.reference: expected a path without braces, got '{run}.npz'"),
        ({"scoring": {"reference": f"x/{'long' * 50}.npz"}},
         f"scoring.reference: expected a file name of at most 180 bytes, got 204: {'long' * 10}..."),
        ({"sampling": {"ema_width": [0.05, 0.01]}},
         "sampling.ema_width: expected a width that the snapshots up to step 40 (8 each of 0.05 and 0.1) give within "
         "5%, got 0.01 (error 52.5%); choose one nearer to a tracked width, or raise training.snapshots"),
        ({"experiments": {"b": {**BLOCK, "sampling": {"ema_width": 0.12, "step": [5, None]}}}},
         "experiments.b.sampling.ema_width: expected a width that the snapshots up to step 5 (1 each of 0.05 and 0.1) "
         "give within 5%, got 0.12 (error 8.5%); choose one nearer to a tracked width, or raise training.snapshots"),
        ({"experiments": {"b": {**BLOCK, "training": {"steps": 80}}}},
         "experiments.b.training.steps: expected 40, as in experiments.table1, got 80; both train "
         "DiT-Nano-4-E-scale_shift-lr0.02-seed0-731fa729, which has one number of steps: sample it on its way with "
         "sampling.step"),
    ],
)  # fmt: skip
def test_what_no_job_could_do_is_one_line(sections, expected):
    assert message(**sections) == expected


def test_a_resolution_is_divided_by_the_autoencoder_first_where_its_config_is_at_hand(tmp_path):
    name = save_autoencoder(tmp_path / "vae")  # 8 pixels per latent
    data = {"autoencoder": name, "resolution": 48}
    assert message(data=data) == (
        "data.resolution: expected a multiple of 32, the patch of DiT-Nano/4 in experiments.table1, times the 8 pixels "
        f"per latent of {name}, got 48"
    )
    assert message(data={**data, "resolution": 12}) == (
        f"data.resolution: expected a multiple of 8, the pixels per latent of {name}, got 12"
    )
    assert Experiment(tiny_study(data={**data, "resolution": 32}))
    assert Experiment(tiny_study(data={**data, "autoencoder": "nobody/unknown"}))


def test_inception_takes_weights_and_pictures_may_have_braces_in_their_path():
    assert Experiment(tiny_study(scoring={"features": "inception", "weights": "inception.pth"}))
    assert Experiment(tiny_study(scoring={"reference": "{a}/pictures"}))


def test_blocks_of_other_steps_that_share_no_run_are_allowed():
    study = tiny_study(experiments={"b": {**BLOCK, "seed": 1, "training": {"steps": 80}}})
    assert {run.training.steps for run in Experiment(study).runs.values()} == {40, 80}


def test_a_search_chooses_from_widths_that_its_snapshots_give():
    study = Experiment(tiny_study(data={"holdout": 2}) | {"tuning": {"ema_widths": [0.05, 0.2]}})
    with pytest.raises(UserError, match=r"^tuning.ema_widths: expected a width that .* got 0.2 \(error 7.8%\)"):
        study.tuning_settings()
