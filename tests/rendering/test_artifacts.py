"""Tables and figures from CSVs, by `mpdit render`."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_runs import entry, write_plan, write_run
from PIL import Image

from mpdit import paper  # noqa: F401  # registers its tables and figures
from mpdit.__main__ import main
from mpdit.experiment.columns import COST
from mpdit.rendering import style
from mpdit.rendering.registry import ARTIFACTS
from mpdit.results.collect import collect, read_plan
from mpdit.results.shown_study import ShownStudy, shown_study
from mpdit.results.tables import write_tables
from mpdit.system.files import write_text


@pytest.fixture
def aggregated(tmp_path):
    """A folder with the aggregates of two runs in data/, and these runs in runs/."""
    entries = [entry("A"), entry("E")]
    for run in entries:
        write_run(tmp_path / "runs", run)
    plan = write_plan(tmp_path / "plan.json", entries)
    write_tables(collect(read_plan(plan), tmp_path / "runs"), tmp_path / "data")
    return tmp_path


def render(folder, name, output, *more) -> int:
    words = ["render", name, "--data", folder / "data", "--runs", folder / "runs", "--output", folder / output, *more]
    return main([str(word) for word in words])


@pytest.mark.parametrize("name", ["table1", "magnitudes"])
def test_artifacts_are_rendered_in_all_forms_with_the_same_bytes_each_time(name, aggregated):
    artifact = ARTIFACTS[name]
    assert render(aggregated, name, f"once{artifact.suffixes[0]}") == 0
    assert render(aggregated, name, f"again/once{artifact.suffixes[-1]}") == 0
    for suffix in artifact.suffixes:
        once, again = ((aggregated / folder / "once").with_suffix(suffix).read_bytes() for folder in ("", "again"))
        assert once == again
        assert once
    assert not list(aggregated.glob(".*.part*"))
    if artifact.kind == "figure":
        with Image.open(aggregated / "once.png") as picture:
            assert picture.width == 200 * style.WIDTH


def test_step_times_come_from_the_given_cost_or_from_the_one_next_to_the_aggregates(aggregated):
    def step_time():
        return pd.read_csv(aggregated / "table1.csv")["relative_step_time"].tolist()[1]

    measured = {"model": "DiT-Nano/2", "config": "E", "modulation": "scale_shift", "form": "cheap"}
    row = dict.fromkeys(COST.names, 1.0) | measured
    render(aggregated, "table1", "table1.csv")
    assert np.isnan(step_time())
    pd.DataFrame([row | {"relative": 1.5}])[list(COST.names)].to_csv(aggregated / "data/cost.csv", index=False)
    render(aggregated, "table1", "table1.csv")
    assert step_time() == 1.5
    pd.DataFrame([row | {"relative": 1.25}])[list(COST.names)].to_csv(aggregated / "other.csv", index=False)
    render(aggregated, "table1", "table1.csv", "--cost", aggregated / "other.csv")
    assert step_time() == 1.25


def test_mistakes_at_the_command_line_are_one_line(aggregated, capsys):
    def message(*arguments) -> str:
        assert render(aggregated, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("mpdit render: ").strip()

    assert message("loss", "loss.csv") == f"--output: {aggregated}/loss.csv: a figure ends in .pdf or .png"
    assert message("table1", "t.csv", "--cost", aggregated / "c.csv") == f"{aggregated}/c.csv: no such file"
    path = aggregated / "data/fid.csv"
    complete = path.read_text()
    write_text(path, complete.replace("fid_floor", "floor"))
    assert message("table1", "t.csv").startswith(f"{path}: missing column fid_floor")
    write_text(path, complete.replace("50.0,0.125", "nan,0.125"))
    assert message("table1", "t.csv").startswith(f"{path}: fid of run DiT-Nano-2-A-scale_shift-lr0.001-seed0-0123abcd,")
    write_text(path, complete + complete.splitlines()[1])
    assert message("table1", "t.csv").startswith(f"{path}: two rows for run DiT-Nano-2-A")
    write_text(path, complete)
    words = ["render", "samples", "--data", aggregated / "data", "--output", aggregated / "samples.png"]
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err.startswith("mpdit render: --runs: missing")
    assert message("table9", "t.csv").startswith("NAME: table9: must be one of table1, ")


def test_configurations_of_a_study_are_shown_with_its_words_in_its_order(tmp_path):
    """`mpdit render` knows them from plan.json alone, and another study in the same process does not."""
    own = {"Z": {"extends": "E", "adds": "LayerNorm back in", "norm": "layer"},
           "F": {"extends": "E", "adds": "gates that start closed", "gate_offset": 0}}  # fmt: skip
    entries = [entry(config, lr=0.01) for config in ("F", "Z", "A")]
    for run in entries:
        write_run(tmp_path / "runs", run)
    plan = {"experiment": "table1", "runs": entries, "configs": own}
    (tmp_path / "data").mkdir()
    write_text(tmp_path / "data/plan.json", json.dumps(plan))
    write_tables(collect(read_plan(tmp_path / "data/plan.json"), tmp_path / "runs"), tmp_path / "data")
    assert render(tmp_path, "table1", "table1.csv") == 0
    table = pd.read_csv(tmp_path / "table1.csv")
    assert list(zip(table["config"], table["adds"], strict=True)) == [
        ("A", "baseline DiT"), ("Z", "LayerNorm back in"), ("F", "gates that start closed"),
    ]  # fmt: skip
    assert render(tmp_path, "magnitudes", "magnitudes.png") == 0
    assert shown_study() == ShownStudy()
    write_text(tmp_path / "data/plan.json", json.dumps(plan | {"configs": {"F": {"extends": "Q"}}}))
    assert render(tmp_path, "table1", "table1.csv") == 2
