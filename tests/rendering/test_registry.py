"""The registry of tables and figures, and `mpdit render`."""

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_runs import entry, write_plan, write_run
from PIL import Image

from mpdit import paper
from mpdit.__main__ import main
from mpdit.experiment.columns import COST, SCHEMAS
from mpdit.rendering import style as plots
from mpdit.results.collect import collect, read_plan
from mpdit.results.tables import write_tables


@pytest.fixture
def rendered(tmp_path):
    """A folder of aggregates of two runs, and of those runs."""
    entries = [entry("A"), entry("E")]
    for run in entries:
        write_run(tmp_path / "runs", run)
    plan = write_plan(tmp_path / "plan.json", entries)
    write_tables(collect(read_plan(plan), tmp_path / "runs"), tmp_path / "data")
    return tmp_path


def render(folder, name, output, *more) -> int:
    words = ["render", name, "--data", folder / "data", "--runs", folder / "runs", "--output", folder / output, *more]
    return main([str(word) for word in words])


def test_artefacts_say_what_they_read():
    for name, artefact in paper.ARTEFACTS.items():
        assert artefact.name == name
        assert artefact.kind in ("table", "figure")
        assert set(artefact.reads) <= {*SCHEMAS, "samples"}
        assert artefact.caption.endswith(".")


@pytest.mark.parametrize("name", ["table1", "magnitudes"])
def test_artefacts_are_rendered_in_all_their_forms_twice_the_same(name, rendered):
    artefact = paper.ARTEFACTS[name]
    assert render(rendered, name, f"once{artefact.suffixes[0]}") == 0
    assert render(rendered, name, f"again/once{artefact.suffixes[-1]}") == 0
    for suffix in artefact.suffixes:
        once, again = ((rendered / folder / "once").with_suffix(suffix).read_bytes() for folder in ("", "again"))
        assert once == again
        assert once
    assert not list(rendered.glob(".*"))
    if artefact.kind == "figure":
        with Image.open(rendered / "once.png") as picture:
            assert picture.width == 200 * plots.WIDTH


def test_step_times_come_from_the_cost_that_is_given_or_lies_there(rendered):
    def step_time():
        return pd.read_csv(rendered / "table1.csv")["relative_step_time"].tolist()[1]

    columns = COST.names
    row = dict.fromkeys(columns, 1.0) | {
        "model": "DiT-Nano/2",
        "config": "E",
        "modulation": "scale_shift",
        "form": "cheap",
    }
    render(rendered, "table1", "table1.csv")
    assert np.isnan(step_time())
    pd.DataFrame([row | {"relative": 1.5}])[list(columns)].to_csv(rendered / "data/cost.csv", index=False)
    render(rendered, "table1", "table1.csv")
    assert step_time() == 1.5
    pd.DataFrame([row | {"relative": 1.25}])[list(columns)].to_csv(rendered / "other.csv", index=False)
    render(rendered, "table1", "table1.csv", "--cost", rendered / "other.csv")
    assert step_time() == 1.25


def test_mistakes_at_the_command_line_are_one_line(rendered, capsys):
    def told(*arguments) -> str:
        assert render(rendered, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("mpdit render: ").strip()

    assert told("loss", "loss.csv") == f"--output: {rendered}/loss.csv: must end in .pdf or .png"
    assert told("table1", "t.csv", "--cost", rendered / "c.csv") == f"{rendered}/c.csv: no such file"
    path = rendered / "data/fid.csv"
    whole = path.read_text()
    path.write_text(whole.replace("fid_floor", "floor"))
    assert (
        told("table1", "t.csv") == f"{path}: missing column fid_floor: an older version wrote this file, make it again"
    )
    path.write_text(whole.replace("50.0,0.125", "nan,0.125"))
    assert told("table1", "t.csv").startswith(f"{path}: fid of run DiT-Nano-2-A-scale_shift-lr0.001-seed0-0123abcd, ")
    path.write_text(whole + whole.splitlines()[1])
    assert told("table1", "t.csv").startswith(f"{path}: two rows for run DiT-Nano-2-A")
    path.write_text(whole)
    words = ["render", "samples", "--data", rendered / "data", "--output", rendered / "samples.png"]
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err.startswith("mpdit render: --runs: missing: must name the folder of runs")
    with pytest.raises(SystemExit):
        render(rendered, "table9", "t.csv")
    assert "table9" in capsys.readouterr().err
