"""The artifacts that each block has: from no data, and from modulations, which have lines of their own."""

import pytest
from helpers.drawing import draw, stream_magnitudes, title
from helpers.made_up_runs import entry, frames, write_run

from mpdit.experiment.columns import SCHEMAS
from mpdit.rendering.every_block import OF_EVERY_BLOCK
from mpdit.results.tables import empty_table

FIGURES = {artifact.name: artifact for artifact in OF_EVERY_BLOCK if artifact.kind == "figure"}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_without_any_data(name, tmp_path):
    data = frames((entry("A"), "missing", []), (entry("E"), "running", []))
    data |= {name: empty_table(SCHEMAS[name]) for name in ("training", "heldout", "magnitudes")}
    data["samples"] = tmp_path
    figure = draw(FIGURES[name].make, {key: data[key] for key in FIGURES[name].reads})
    assert all(axes.lines or axes.texts for axes in figure.axes)
    assert FIGURES[name].caption.endswith(".")


def test_modulations_share_a_panel_and_the_first_is_the_baseline(tmp_path):
    entries = [entry("E", modulation=name) for name in ("scale_shift", "scale")]
    data = frames(*((run, "trained", [{}]) for run in entries))
    data["training"] = empty_table(SCHEMAS["training"])
    figure = draw(FIGURES["loss"].make, data)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "loss / loss of scale + shift"]
    data["magnitudes"] = stream_magnitudes((entries[0], 1.0), (entries[1], 2.0))
    figure = draw(FIGURES["magnitudes"].make, data)
    labels = {line.get_label() for line in figure.axes[1].lines}
    assert {"scale + shift", "scale"} <= labels
    for run in entries:
        write_run(tmp_path, run)
    figure = draw(FIGURES["samples"].make, data | {"samples": tmp_path})
    assert [title(axes) for axes in figure.axes] == ["scale", "scale + shift"]
