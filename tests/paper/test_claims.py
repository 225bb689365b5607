"""The paper's claims as data, and rendered from the command line."""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.made_up_studies import A80, seeds, study
from helpers.paper_verdicts import verdict_rows

from mpdit import paper  # noqa: F401  # registers the claims
from mpdit.experiment.grid import Experiment
from mpdit.rendering.registry import CLAIMS
from mpdit.results.summary import require_one_run_per_seed


def test_claims_have_units_and_bounds():
    assert len(CLAIMS) == 44
    for name, claim in CLAIMS.items():
        assert claim.name == name
        assert claim.unit in ("%", "×", "points")
        assert claim.low < claim.high
        assert math.isfinite(claim.low) or math.isfinite(claim.high)


COMPARED = {  # claim: the side that is lower if it holds, and the other one
    "b-below-a": (("B", "scale_shift"), ("A", "scale_shift")),
    "c-below-b": (("C", "scale_shift"), ("B", "scale_shift")),
    "c-below-a": (("C", "scale_shift"), ("A", "scale_shift")),
    "d-below-a": (("D", "scale_shift"), ("A", "scale_shift")),
    "leaky": (("E-leaky", "scale_shift"), ("E", "scale_shift")),
    "rotation-full": (("E", "rotate_full"), ("E", "rotate")),
}


@pytest.mark.parametrize("name", COMPARED)
def test_the_ladder_and_its_variants_are_compared_by_score_and_by_loss(name):
    low, high = (70.0, 70.8, 69.3), (80.0, 81.0, 79.0)
    for values, verdict in (((low, high), "holds"), ((high, low), "fails")):
        sides = [seeds(side[0], *own, modulation=side[1]) for side, own in zip(COMPARED[name], values, strict=True)]
        data = with_losses(study(*sides[0], *sides[1]))
        rows = verdict_rows(data, name, f"loss-{name}").to_dict("records")
        assert [(row["verdict"], row["metric"], row["family"]) for row in rows] == [
            (verdict, "FID", "exploratory"),
            (verdict, "held-out loss", "exploratory"),
        ]
        assert "FID" in rows[0]["sentence"] and "held-out loss" in rows[1]["sentence"]


@pytest.mark.parametrize(
    ("e", "verdicts"),
    [((80.1, 80.9, 79.05), ["holds", "holds"]), ((95.0, 96.0, 94.0), ["fails", "fails"]),
     ((82.0, 83.05, 81.0), ["holds", "fails"])],
)  # fmt: skip
def test_d_and_e_are_about_level_within_a_margin_of_each_measure(e, verdicts):
    data = with_losses(study(*seeds("D", 80.0, 81.0, 79.0), *seeds("E", *e)))
    assert verdict_rows(data, "d-about-e", "loss-d-about-e")["verdict"].tolist() == verdicts


def with_losses(data: dict) -> dict:
    """The study with the FIDs of its runs as held-out losses."""
    losses = data["fid"][["run", "step", "ema_width"]].assign(part="report", loss=data["fid"]["fid"])
    data["runs"]["steps"] = 100
    return data | {"heldout": losses}


@pytest.mark.parametrize("path", ["config.yaml", "workflow/config/imagenet128.yaml", "workflow/config/cifar10.yaml"])
def test_no_shipped_study_counts_a_seed_twice(path):
    experiment = Experiment(yaml.safe_load((Path(__file__).parents[2] / path).read_text()))
    require_one_run_per_seed(pd.DataFrame(experiment.plan(*experiment.blocks)["runs"]))


def test_claims_are_rendered_without_torch(tmp_path):
    data = study(*A80, *seeds("E", 69.0, 70.0))
    for name in ("runs", "fid", "magnitudes"):
        data[name].to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["render", "claims", "--data", str(tmp_path), "--output", str(tmp_path / "claims.csv")]
    code = f"import sys; from mpdit.__main__ import main; rc = main({words!r}); print(rc, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
    assert {path.suffix for path in tmp_path.glob("claims.*")} == {".csv", ".md", ".tex"}
    frame = pd.read_csv(tmp_path / "claims.csv")
    assert frame.loc[0, ["claim", "n", "setting"]].tolist() == [
        "preservation", 2, "E (2e-2) vs. A (1e-3), scale + shift",
    ]  # fmt: skip
