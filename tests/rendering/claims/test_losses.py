"""Claims about held-out losses."""

import pandas as pd
import pytest
from helpers.made_up_studies import run, study
from helpers.paper_verdicts import verdict_rows

from mpdit.experiment.columns import HELDOUT, HELDOUT_IMAGES

A, E = (0.20, 0.21, 0.205), (0.19, 0.199, 0.1945)


def of_losses(losses: dict[tuple[str, float], tuple[float, ...]], spread: float = 0.0, **changes: object) -> dict:
    """A study with these losses by configuration and rate; images differ between configurations by `spread`."""
    runs, rows, images = [], [], []
    for (config, lr), values in losses.items():
        for seed, loss in enumerate(values):
            made = run(config, seed, lr=lr, standard_lr=lr == (1e-3 if config == "A" else 2e-2), **changes)
            runs.append(made)
            about = {"run": made[0]["run"], "ema_width": 0.05}
            rows += [
                {**about, "step": 100, "part": part, "loss": value} for part, value in (("report", loss), ("tune", 9.0))
            ]
            images += [
                {**about, "image": image, "loss": loss + spread * (image % 2 - 0.5) * (config == "E")}
                for image in range(20)
            ]
    data = study(*runs)
    data["runs"]["steps"] = 100
    heldout = {"heldout": pd.DataFrame(rows, columns=HELDOUT.names)}
    return data | heldout | {"heldout_images": pd.DataFrame(images, columns=HELDOUT_IMAGES.names)}


def judged(data: dict, name: str = "loss-preservation") -> dict:
    (row,) = verdict_rows(data, name).to_dict("records")
    return row


def test_the_reporting_part_decides_about_loss():
    row = judged(of_losses({("A", 1e-3): A, ("E", 2e-2): E}))
    assert (row["verdict"], row["metric"], row["ema_width"], row["n"]) == ("holds", "held-out loss", "0.05", 3)
    assert row["ours"] == pytest.approx(-5.1, abs=0.1)


def test_the_error_of_images_is_added_to_that_of_seeds():
    row = judged(of_losses({("A", 1e-3): A, ("E", 2e-2): E}, spread=0.1))
    assert row["verdict"] == "undecided"
    assert row["low"] < -10 < 0 < row["high"]


def test_a_better_rate_in_the_same_study_withholds_the_verdict():
    row = judged(of_losses({("A", 1e-3): A, ("A", 1e-2): (0.15, 0.151, 0.152), ("E", 2e-2): E}))
    assert row["verdict"] == "withheld"
    assert "lower held-out loss at 1e-2 than at 1e-3" in row["decides"]
    assert judged(of_losses({("A", 1e-3): A, ("E", 2e-2): E}, tuning="horizon"))["verdict"] == "withheld"


def test_a_configuration_stalls_at_the_rate_of_another():
    losses = {("A", 1e-3): A, ("E", 2e-2): E, ("E", 1e-3): (0.5, 0.51, 0.505)}
    assert judged(of_losses(losses), "loss-stall")["verdict"] == "holds"


def test_a_study_without_held_out_pictures_has_no_verdict_about_loss():
    data = of_losses({("A", 1e-3): A, ("E", 2e-2): E})
    del data["heldout"], data["heldout_images"]
    row = judged(data)
    assert row["verdict"] == "not run" and "data.holdout" in row["decides"]
