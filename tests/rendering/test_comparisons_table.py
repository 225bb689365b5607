"""All paired comparisons of a study in one table."""

import json

import pytest
from helpers.made_up_runs import entry, frames

from mpdit.rendering.artifacts import read
from mpdit.rendering.comparisons_table import comparisons_table
from mpdit.rendering.every_block import COMPARISONS
from mpdit.results.tables import write_tables


def seeds(config: str, *kids: float, **changes) -> list[tuple]:
    return [(entry(config, seed, **changes), "trained", [{"kid": kid}]) for seed, kid in enumerate(kids)]


@pytest.fixture
def experiments() -> dict:
    rotations = [run for name, kid in (("scale", 0.1), ("rotate", 0.2)) for run in seeds("E", kid, modulation=name)]
    return {
        "leaky": frames(*seeds("E", 0.1, 0.11, 0.12), *seeds("E-leaky", 0.05, 0.056, 0.06)),
        "alone": frames(*seeds("A", 0.1)),
        "rotations": frames(*rotations),
    }


def test_each_setting_is_compared_with_the_baseline_of_its_experiment(experiments):
    table = comparisons_table({"experiments": experiments})
    assert [row[:5] for row in table.rows] == [
        ["leaky", "Config E-leaky", "Config E", "KD", "3"],
        ["rotations", "rotate", "scale", "KD", "1"],
    ]
    assert table.rows[0][5].startswith("−49.7 % (")
    assert table.rows[0][6:] == ["< 0.001", "trained"]
    assert table.rows[1][5:] == ["—", "—", "trained"]  # one seed
    assert table.frame.loc[0, "change_p_holm"] < 0.001


def test_an_interim_table_tests_nothing(experiments):
    table = comparisons_table({"experiments": experiments, "interim": True})
    assert [row[6] for row in table.rows] == ["—", "—"]
    assert table.frame["change_p_holm"].isna().all()


def test_the_blocks_are_those_of_the_plan(experiments, tmp_path):
    for block in ("leaky", "of_before"):
        own = {name: experiments["leaky"][name] for name in ("runs", "fid")}
        own["runs"] = own["runs"].fillna({"paper_setting": False})
        write_tables(own, tmp_path / "experiments" / block)
    (tmp_path / "plan.json").write_text(json.dumps({"experiment": "leaky", "runs": []}))
    data = read(COMPARISONS, tmp_path)
    assert list(data["experiments"]) == ["leaky"]
    assert [row[0] for row in comparisons_table(data).rows] == ["leaky"]
