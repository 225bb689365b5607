"""The registry of tables, figures and claims."""

import pytest

from mpdit import paper  # noqa: F401  # registers the paper's
from mpdit.experiment.columns import AGGREGATES, HELDOUT_AGGREGATES, SCHEMAS
from mpdit.experiment.published import PUBLISHED_SETTINGS
from mpdit.rendering import registry
from mpdit.rendering.registry import ARTIFACTS, claim, figure, goals, table


@pytest.fixture
def empty_registry(monkeypatch):
    for name in ("ARTIFACTS", "CLAIMS"):
        monkeypatch.setattr(registry, name, {})
    return registry


def register_some():
    for register, name, experiments in (
        (table, "table1", ("table1",)),
        (figure, "angle_map", ()),
        (table, "table2", ("table2", "table1")),
    ):
        register(name, experiments=experiments, reads=("runs",), caption="A caption.")(lambda data: data)


def test_registered_artifacts_say_what_they_read():
    for name, artifact in ARTIFACTS.items():
        assert artifact.name == name
        assert artifact.kind in ("table", "figure")
        assert set(artifact.reads) <= {*SCHEMAS, "samples", "settings"}
        assert set(artifact.reads_optional) <= set(SCHEMAS)
        assert artifact.caption.endswith(".")


def test_the_setting_of_the_paper_is_registered():
    assert len(PUBLISHED_SETTINGS) == 1


def test_a_title_defaults_to_the_name(empty_registry):
    register_some()
    assert {name: artifact.title for name, artifact in empty_registry.ARTIFACTS.items()} == {
        "table1": "Table1", "angle_map": "Angle map", "table2": "Table2",
    }  # fmt: skip
    assert {artifact.section for artifact in empty_registry.ARTIFACTS.values()} == {"Tables", "Figures"}


@pytest.mark.usefixtures("empty_registry")
def test_an_artifact_is_made_from_the_first_of_its_blocks_that_the_study_has():
    register_some()
    assert goals(["table1", "other"]) == {"table1": "table1", "angle_map": None, "table2": "table1"}
    assert goals(["table1", "table2"])["table2"] == "table2"
    assert goals(["other"]) == {"angle_map": None}


@pytest.mark.usefixtures("empty_registry")
def test_an_artifact_of_held_out_losses_is_left_out_of_studies_without_any():
    figure("losses", experiments=(), reads=("runs", "heldout"), caption="")(lambda data: None)
    assert goals(["table1"]) == {}
    assert goals(["table1"], (*AGGREGATES, *HELDOUT_AGGREGATES)) == {"losses": None}


@pytest.mark.usefixtures("empty_registry")
def test_a_name_is_registered_once():
    register_some()
    with pytest.raises(ValueError, match="table1: registered twice"):
        register_some()
    claim("growth", "It grows", lambda *study: [], "×", low=1.0)
    with pytest.raises(ValueError, match="growth: registered twice"):
        claim("growth", "It grows", lambda *study: [], "×", low=1.0)


@pytest.mark.usefixtures("empty_registry")
def test_a_study_with_a_claim_has_a_table_of_verdicts():
    assert "claims" not in goals(["table1"])
    claim("growth", "It grows.", lambda *arguments: [], "%")
    claim("decay", "It decays.", lambda *arguments: [], "%")
    assert goals(["table1"]) == {"claims": None}
