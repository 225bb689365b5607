"""The paper's claims as data, and rendered from the command line."""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.made_up_studies import A80, seeds, study

from mpdit import paper  # noqa: F401  # registers the claims
from mpdit.experiment.grid import Experiment
from mpdit.rendering.registry import CLAIMS
from mpdit.results.summary import require_one_run_per_seed


def test_claims_have_units_and_bounds():
    assert len(CLAIMS) == 23
    for name, claim in CLAIMS.items():
        assert claim.name == name
        assert claim.unit in ("%", "×", "points")
        assert claim.low < claim.high
        assert math.isfinite(claim.low) or math.isfinite(claim.high)


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
