"""A study with a file of its own: what it registers is trained, sampled, scored and drawn, and only what must be."""

import hashlib
import json

import pytest
from helpers.projects import TINY, jobs, runs, snakemake, tiny_study, trained_runs, write_config

FIGURE = "results/figures/own_scores.png"
STUDY = '''\
from mpdit import study


@study.activation("relu2", version=1)
def squared_relu(context):
    """ReLU squared, which preserves the magnitude of normal inputs."""
    from torch.nn.functional import relu

    from mpdit.model.layers import Activation

    return Activation(lambda x: relu(x) ** 2, (2 / 3) ** 0.5)


@study.features("thumbnails", version=1, label="Thumbnails", dimension=12)
def thumbnails():
    """The mean colors of the quarters of an image."""
    from torch import nn

    class Thumbnails(nn.Module):
        def forward(self, images):
            return nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)

    return Thumbnails()


@study.figure("own_scores", experiments=("table1",), reads=("fid",), caption="Scores.")
def own_scores(data):
    from mpdit.rendering import style

    canvas, grid = style.panels(rows=1, columns=1, height=2.5)
    grid[0, 0].bar(data["fid"]["config"], data["fid"]["fid"])
    return canvas
'''


@pytest.mark.slow
def test_an_edited_comment_draws_again_and_a_raised_version_trains_what_uses_the_part(study_copy):
    """Runs that were finished before the study had a file of its own stay as they are."""
    own = {"extends": "E", "adds": "squared ReLU", "activation": "relu2"}
    block = {**TINY["experiments"]["table1"], "config": ["A", "E", "E-relu2"]}
    study = tiny_study(
        experiments={"table1": block}, learning_rates={"E-relu2": 1e-2}, scoring={"features": "thumbnails"}
    )
    write_config(study_copy, {**study, "study": "study.py", "configs": {"E-relu2": own}})
    file = study_copy / "study.py"
    file.write_text(STUDY)
    done = snakemake(study_copy, FIGURE)
    (trained,) = set(trained_runs(done.stdout + done.stderr))
    folder = runs(study_copy)["E-relu2"]
    assert folder.name == trained and (study_copy / FIGURE).stat().st_size > 1000
    outcome = json.loads((folder / "trained.json").read_text())
    assert outcome["study"] == hashlib.sha256(STUDY.encode()).hexdigest()
    assert len(list(study_copy.glob("results/runs/*/samples/*/fid-thumbnails-v1.csv"))) == 3

    file.write_text(f"# A comment.\n{STUDY}")
    assert jobs(study_copy, FIGURE) == {"figure": 1}

    file.write_text(STUDY.replace('"relu2", version=1', '"relu2", version=2'))
    dry = snakemake(study_copy, "--dry-run", FIGURE).stdout
    (again,) = set(trained_runs(dry))
    assert again != trained and again.rpartition("-")[0] == trained.rpartition("-")[0]
