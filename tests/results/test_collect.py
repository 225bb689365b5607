"""Run folders -> runs.csv, fid.csv, training.csv, magnitudes.csv; and the one line for a file that is not right."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from helpers import made_up_runs as made_up
from helpers.made_up_runs import PROTOCOL, SCORE_FILE, entry, write_plan, write_run

from mpdit.__main__ import main
from mpdit.commands import cost
from mpdit.evaluation import scoring
from mpdit.experiment.columns import MAGNITUDES
from mpdit.results import collect as aggregate
from mpdit.system.errors import UserError
from mpdit.training import training_log as reporting


@pytest.fixture
def study(tmp_path):
    """The folder of runs, and a function that aggregates the entries of a plan."""
    runs = tmp_path / "runs"
    return runs, lambda *entries: aggregate.aggregate(write_plan(tmp_path / "plan.json", list(entries)), runs)


def test_the_columns_are_those_that_the_stages_write():
    assert aggregate.COLUMNS["training"] == ("run", *reporting.COLUMNS)
    assert aggregate.COLUMNS["magnitudes"] == MAGNITUDES.names
    assert aggregate.COLUMNS["cost"] == cost.COLUMNS
    assert tuple(name for name in aggregate.COLUMNS["fid"] if name != "protocol") == scoring.COLUMNS


def test_a_trained_run_has_all_its_rows(study):
    runs, collect = study
    a = entry("A")
    write_run(runs, a, fid=0.1 + 0.2)
    tables = collect(a)
    assert {subject: tuple(table.columns) for subject, table in tables.items()} == {
        subject: aggregate.COLUMNS[subject] for subject in aggregate.SUBJECTS
    }
    (run,) = tables["runs"].to_dict("records")
    assert run == {
        **{key: a[key] for key in aggregate.AXES}, "paper_setting": False, "standard_lr": True, "status": "trained",
        "step": 100, "steps": 100, "loss": 0.5, "parameters": 214272, "images_per_second": 640.0, "seconds": 20.5,
        "peak_memory_mb": 500.1, "latents": "ab" * 32, "device": "cpu", "threads": 1, "commit": "c0ffee",
    }  # fmt: skip
    (scored,) = tables["fid"].to_dict("records")
    assert (scored["run"], scored["protocol"], scored["ema_width"]) == (a["run"], PROTOCOL, "0.05")
    assert scored["fid"] == "0.30000000000000004"  # the text of the file, to the last digit
    assert tables["training"][["step", "loss"]].to_numpy().tolist() == [["50", "0.75"], ["100", "0.5"]]
    assert len(tables["magnitudes"]) == 18


def test_runs_that_have_not_ended_are_shown_as_they_are(study):
    runs, collect = study
    entries = {name: entry(name) for name in "ABCD"}
    write_run(runs, entries["A"])
    made_up.write_spec(runs / entries["B"]["run"], entries["B"])
    made_up.write_training(runs / entries["B"]["run"], [(10, 0.9), (20, 0.8)])
    write_run(runs, entries["C"], status="diverged", step=60, loss=None)
    tables = collect(*entries.values())
    shown = tables["runs"].set_index("config")[["status", "step", "steps"]].fillna("").astype(str)
    assert shown.loc["A"].tolist() == ["trained", "100", "100"]
    assert shown.loc["B"].tolist() == ["running", "20", "100"]
    assert shown.loc["C"].tolist() == ["diverged", "60", "100"]
    assert shown.loc["D"].tolist() == ["missing", "", "100"]
    assert set(tables["fid"]["config"]) == {"A"}
    assert set(tables["magnitudes"]["run"]) == {entries["A"]["run"]}
    assert tables["training"].groupby("run").size().to_dict() == {entries[name]["run"]: 2 for name in "ABC"}


def test_a_run_whose_steps_were_raised_is_running_again(study):
    runs, collect = study
    write_run(runs, entry("A"))
    assert collect(entry("A", steps=200))["runs"]["status"].tolist() == ["running"]


def test_a_row_that_is_being_written_is_no_row_and_a_repeated_step_counts_once(study):
    runs, collect = study
    folder = runs / entry("A")["run"]
    made_up.write_training(folder, [(10, 0.9), (20, 0.8), (10, 0.7), (20, 0.6)])
    path = folder / "training.csv"
    path.write_text(path.read_text() + "30,0.5,1.")
    assert collect(entry("A"))["training"][["step", "loss"]].to_numpy().tolist() == [["10", "0.7"], ["20", "0.6"]]
    path.write_text("step,lo")
    assert collect(entry("A"))["runs"]["status"].tolist() == ["missing"]


def test_a_plan_without_runs_gives_headers_alone(study):
    _, collect = study
    assert all(table.empty and len(table.columns) for table in collect().values())


def edit(path, old, new):
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new))


SCORED = f"samples/{PROTOCOL}/{SCORE_FILE}"
# What is done to a file of a healthy run: (file, text, what it becomes, the message after the file's name)
BROKEN = {
    "score of an older version": (SCORED, "kid_sd", "sd", "no column kid_sd: must be there; an older version wrote it"),
    "training of an older version": ("training.csv", "grad_norm,lr", "norm,rate", "no column grad_norm, lr: must be"),
    "magnitudes of an older version": ("magnitudes.csv", "site", "place", "no column site: must be there"),
    "NaN in a score": (SCORED, "50.0,0.125", "nan,0.125", "fid of run {run}, features efficientnet-lite0: found nan"),
    "nothing in a score": (SCORED, "50.0,0.125", "50.0,", "kid of run {run}, features efficientnet-lite0: found no"),
    "infinite magnitude": ("magnitudes.csv", ",750,,1.25", ",750,,inf", "found inf: must be a finite number"),
    "NaN loss of a run that lives": ("training.csv", "50,0.75", "50,nan", "loss of step 50: found nan: must be a"),
    "a magnitude twice": ("magnitudes.csv", ",250,", ",750,", "two rows for run {run}, step 0, kind activation, block"),
    "another run's score": (SCORED, "seed0", "seed9", "is of run {other}: must be of {run}, whose folder it lies in"),
    "another run's outcome": ("trained.json", "seed0", "seed9", "is of run {other}: must be of {run}, whose folder"),
    "outcome of an older version": ("trained.json", "peak_memory_mb", "memory", "no peak_memory_mb: must be there"),
    "outcome that is none": ("trained.json", '"trained"', '"done"', "status is 'done': must be trained or diverged"),
    "outcome cut short": ("trained.json", "}", "", "not valid JSON"),
    "rows of two lengths": (SCORED, "c0ffee", "c0ffee\n" + "1," * 40, "not a CSV"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_trusted_is_one_line(study, case):
    runs, collect = study
    name, old, new, message = BROKEN[case]
    a = entry("A")
    folder = write_run(runs, a)
    collect(a)  # healthy before
    edit(folder / name, old, new)
    with pytest.raises(UserError) as error:
        collect(a)
    told = str(error.value)
    assert told.startswith(f"{folder / name}: ")
    assert message.format(run=a["run"], other=a["run"].replace("seed0", "seed9")) in told
    assert "\n" not in told


def test_an_empty_file_is_one_line(study):
    runs, collect = study
    folder = write_run(runs, entry("A"))
    (folder / "magnitudes.csv").write_text("")
    with pytest.raises(UserError, match=r"magnitudes.csv: empty: must have a line of column names$"):
        collect(entry("A"))


def test_a_diverged_run_may_have_a_loss_that_is_no_number(study):
    runs, collect = study
    write_run(runs, entry("A"), status="diverged", step=60)
    assert collect(entry("A"))["training"]["loss"].tolist() == ["0.75", "nan"]


def test_a_plan_that_names_a_run_twice_or_lacks_a_field(study, tmp_path):
    _, collect = study
    with pytest.raises(UserError, match=r"plan.json: run DiT-Nano-2-A\S+ stands twice: must stand once$"):
        collect(entry("A"), entry("A"))
    with pytest.raises(UserError, match=r"plan.json: run DiT\S+: no scores: must be there"):
        collect({key: value for key, value in entry("A").items() if key != "scores"})
    (tmp_path / "plan.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match=r"plan.json: no list of runs"):
        aggregate.read_plan(tmp_path / "plan.json")


def test_tables_are_read_as_they_were_written(study, tmp_path):
    runs, collect = study
    entries = [entry("A"), entry("E")]
    write_run(runs, entries[0], fid=0.1 + 0.2)
    aggregate.write(collect(*entries), tmp_path / "out")
    fid = aggregate.read_table(tmp_path / "out/fid.csv", "fid")
    assert fid["fid"].tolist() == [0.1 + 0.2]
    assert fid["ema_width"].tolist() == ["0.05"]
    table = aggregate.read_table(tmp_path / "out/runs.csv", "runs")
    assert table["paper_setting"].tolist() == [False, False]
    assert table["parameters"].isna().tolist() == [False, True]
    assert (tmp_path / "out/runs.csv").read_text().splitlines()[2].endswith("missing,,100,,,,,,,,,")
    with pytest.raises(UserError, match=r"cost.csv: no such file$"):
        aggregate.read_table(tmp_path / "cost.csv", "cost")


def test_the_command_line(study, tmp_path, capsys):
    runs, _ = study
    write_run(runs, entry("A"))
    plan = str(write_plan(tmp_path / "plan.json", [entry("A"), entry("B")]))
    command = ["aggregate", plan, "--runs", str(runs), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out: 2 runs (1 trained, 1 missing), 1 scores\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "angles.csv", "fid.csv", "magnitudes.csv", "runs.csv", "training.csv",
    ]  # fmt: skip
    edit(runs / entry("A")["run"] / "magnitudes.csv", "kind", "sort")
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("mpdit aggregate: ")


def test_nothing_here_loads_torch(study, tmp_path):
    runs, _ = study
    write_run(runs, entry("A"))
    plan, out = write_plan(tmp_path / "plan.json", [entry("A")]), tmp_path / "out"
    script = f"""
import sys
from mpdit import paper
assert not {{"torch", "pandas", "matplotlib", "numpy"}} & set(sys.modules), "at parse time"
from mpdit.__main__ import main
def run(*words):
    assert main([str(word) for word in words]) == 0, words
run("aggregate", {str(plan)!r}, "--runs", {str(runs)!r}, "--output", {str(out)!r})
run("status", "--runs", {str(runs)!r})
for name, artefact in paper.ARTEFACTS.items():
    output = {str(out)!r} + "/" + name + artefact.suffixes[0]
    run("render", name, "--data", {str(out)!r}, "--runs", {str(runs)!r}, "--output", output)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_part_of_the_tables_is_what_the_smaller_plan_gives(tmp_path):
    entries, other = [entry("A"), entry("C"), entry("E")], "ddpm50-guidance1-n1000-ema0.05-step50-seed0"
    for run in entries:
        run["scores"] = [*run["scores"], f"samples/{other}/{SCORE_FILE}"]
        write_run(tmp_path, run)
    whole = aggregate.collect(entries, tmp_path)
    fewer = [entries[2], {**entries[0], "scores": entries[0]["scores"][::-1]}, {**entries[1], "scores": []}]
    for plan in (entries, fewer, fewer[2:]):
        ours, theirs = aggregate.part(whole, plan), aggregate.collect(plan, tmp_path)
        for subject in theirs:
            pd.testing.assert_frame_equal(ours[subject], theirs[subject], check_dtype=False)
