"""The paper's figures as they are registered."""

import pytest
from helpers.drawing import draw
from helpers.made_up_runs import entry, frames

from mpdit import paper  # noqa: F401  # registers them
from mpdit.experiment.columns import SCHEMAS
from mpdit.rendering.registry import ARTIFACTS
from mpdit.results.tables import empty_table

FIGURES = [name for name, artifact in ARTIFACTS.items() if artifact.kind == "figure"]


def test_there_are_thirteen():
    assert len(FIGURES) == 13


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_without_any_data(name, tmp_path):
    data = frames((entry("A"), "missing", []), (entry("E"), "running", []))
    data |= {name: empty_table(SCHEMAS[name]) for name in ("training", "heldout", "magnitudes", "angles")}
    data["samples"] = tmp_path
    artifact = ARTIFACTS[name]
    figure = draw(artifact.make, {key: data[key] for key in artifact.reads})  # and no more than it says that it reads
    assert all(axes.lines or axes.texts for axes in figure.axes)  # no panel is empty
