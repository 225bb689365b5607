"""Run folders -> runs.csv, fid.csv, training.csv, magnitudes.csv, angles.csv; one line for a file that is not right."""

import subprocess
import sys

import pandas as pd
import pytest
from helpers import made_up_runs as made_up
from helpers.made_up_runs import PROTOCOL, SCORE_FILE, entry, planned, write_losses, write_plan, write_run

from mpdit.__main__ import main
from mpdit.experiment.columns import AGGREGATES, AXES, FID, HELDOUT, HELDOUT_AGGREGATES, RUNS, SCHEMAS
from mpdit.results.collect import collect, read_plan, subset
from mpdit.results.tables import read_table, write_tables
from mpdit.system.errors import UserError
from mpdit.system.files import write_text


def test_a_trained_run_has_all_its_rows(tmp_path):
    a = entry("A")
    write_run(tmp_path, a, fid=0.1 + 0.2)
    tables = collect(planned(a), tmp_path)
    assert {name: tuple(table.columns) for name, table in tables.items()} == {
        name: SCHEMAS[name].names for name in AGGREGATES
    }
    (run,) = tables["runs"].to_dict("records")
    assert run == {
        **{axis.name: a[axis.name] for axis in AXES}, "paper_setting": False, "standard_lr": True, "status": "trained",
        "step": 100, "steps": 100, "loss": 0.5, "parameters": 214272, "images_per_second": 640.0, "seconds": 20.5,
        "peak_memory_mb": 500.1, "tuning": "given", "tuning_rates": None,
        "latents": "ab" * 32, "device": "cpu", "threads": 1, "commit": "c0ffee",
    }  # fmt: skip
    (scored,) = tables["fid"].to_dict("records")
    assert (scored["run"], scored["protocol"], scored["ema_width"]) == (a["run"], PROTOCOL, "0.05")
    assert scored["fid"] == "0.30000000000000004"  # the text of the file, to the last digit
    assert tables["training"][["step", "loss"]].to_numpy().tolist() == [["50", "0.75"], ["100", "0.5"]]
    assert len(tables["magnitudes"]) == 18


def test_held_out_losses_are_collected_where_they_are_asked_for(tmp_path):
    a, c = entry("A"), entry("C")
    write_losses(write_run(tmp_path, a), (0.25, 0.5))
    write_run(tmp_path, c)
    tables = collect(planned(c, a), tmp_path, (*AGGREGATES, *HELDOUT_AGGREGATES))
    assert tables["heldout"][["run", "ema_width", "loss"]].to_numpy().tolist() == [
        [a["run"], "0.05", "0.25"], [a["run"], "0.1", "0.5"],
    ]  # fmt: skip
    assert tables["heldout_images"]["loss"].tolist() == ["0.125", "0.375", "0.25", "0.75"]
    assert subset(tables, planned(c))["heldout"].empty
    write_tables(tables, tmp_path)
    assert read_table(tmp_path / "heldout.csv", HELDOUT)["draws"].tolist() == [32, 32]
    assert not set(HELDOUT_AGGREGATES) & collect(planned(a), tmp_path).keys()


def test_the_command_aggregates_held_out_losses_on_demand(tmp_path):
    write_losses(write_run(tmp_path / "runs", entry("A")))
    plan = write_plan(tmp_path / "plan.json", [entry("A")])
    for options in ([], ["--heldout"]):
        words = ["aggregate", plan, "--runs", tmp_path / "runs", "--output", tmp_path / "out", *options]
        assert main([str(word) for word in words]) == 0
        assert (tmp_path / "out/heldout.csv").exists() == bool(options)


def test_runs_that_have_not_ended_have_their_status(tmp_path):
    entries = {name: entry(name) for name in "ABCD"}
    write_run(tmp_path, entries["A"])
    made_up.write_spec(tmp_path / entries["B"]["run"], entries["B"])
    made_up.write_training(tmp_path / entries["B"]["run"], [(10, 0.9), (20, 0.8)])
    write_run(tmp_path, entries["C"], status="diverged", step=60, loss=None)
    tables = collect(planned(*entries.values()), tmp_path)
    rows = tables["runs"].set_index("config")[["status", "step", "steps"]].fillna("").astype(str)
    assert rows.loc["A"].tolist() == ["trained", "100", "100"]
    assert rows.loc["B"].tolist() == ["running", "20", "100"]
    assert rows.loc["C"].tolist() == ["diverged", "60", "100"]
    assert rows.loc["D"].tolist() == ["missing", "", "100"]
    assert set(tables["fid"]["config"]) == {"A"}
    assert set(tables["magnitudes"]["run"]) == {entries["A"]["run"]}
    assert tables["training"].groupby("run").size().to_dict() == {entries[name]["run"]: 2 for name in "ABC"}


def test_a_run_whose_steps_were_raised_is_running_again(tmp_path):
    write_run(tmp_path, entry("A"))
    assert collect(planned(entry("A", steps=200)), tmp_path)["runs"]["status"].tolist() == ["running"]


def test_a_row_that_is_being_written_is_left_out_and_a_repeated_step_counts_once(tmp_path):
    folder = tmp_path / entry("A")["run"]
    made_up.write_training(folder, [(10, 0.9), (20, 0.8), (10, 0.7), (20, 0.6)])
    path = folder / "training.csv"
    path.write_text(path.read_text() + "30,0.5,1.")
    training = collect(planned(entry("A")), tmp_path)["training"]
    assert training[["step", "loss"]].to_numpy().tolist() == [["10", "0.7"], ["20", "0.6"]]
    path.write_text("step,lo")
    assert collect(planned(entry("A")), tmp_path)["runs"]["status"].tolist() == ["missing"]


def test_a_plan_without_runs_gives_headers_alone(tmp_path):
    assert all(table.empty and len(table.columns) for table in collect([], tmp_path).values())


def test_angles_have_a_table_of_their_own(tmp_path):
    a = entry("A")
    path = write_run(tmp_path, a) / "magnitudes.csv"
    path.write_text(f"{path.read_text()}{a['run']},100,0.05,angle,1,mlp_angle,250,,0.25\n")
    tables = collect(planned(a), tmp_path)
    assert tables["angles"].to_dict("records") == [
        {"run": a["run"], "step": "100", "ema_width": "0.05", "block": "1", "site": "mlp_angle", "timestep": "250",
         "radians": "0.25"}
    ]  # fmt: skip
    assert "angle" not in set(tables["magnitudes"]["kind"])


SCORED = f"samples/{PROTOCOL}/{SCORE_FILE}"
# What is done to a file of a healthy run: (file, text, its replacement, the message after the file's name)
BROKEN = {
    "score of an older version": (SCORED, "kid_sd", "sd", "missing column kid_sd: an older version wrote this file"),
    "training of an older version": ("training.csv", "grad_norm,lr", "norm,rate", "missing column grad_norm, lr: an"),
    "magnitudes of an older version": ("magnitudes.csv", "site", "place", "missing column site: an older version"),
    "NaN in a score": (SCORED, "50.0,0.125", "nan,0.125", "fid of run {run}, features efficientnet-lite0: found nan"),
    "nothing in a score": (SCORED, "50.0,0.125", "50.0,", "kid of run {run}, features efficientnet-lite0: found no"),
    "infinite magnitude": ("magnitudes.csv", ",750,,1.25", ",750,,inf", "found inf: must be a finite number"),
    "NaN loss of a run that did not diverge": ("training.csv", "50,0.75", "50,nan", "loss of step 50: found nan: must"),
    "a magnitude twice": ("magnitudes.csv", ",250,", ",750,", "two rows for run {run}, step 0, kind activation, block"),
    "another run's score": (SCORED, "seed0", "seed9", "belongs to run {other}: must belong to {run}, whose folder it"),
    "another run's outcome": ("trained.json", "seed0", "seed9", "belongs to run {other}: must belong to {run}, whose"),
    "outcome of an older version": ("trained.json", "peak_memory_mb", "memory", "missing field 'peak_memory_mb'"),
    "outcome of another kind": ("trained.json", '"trained"', '"done"', "status: expected trained or diverged, got 'do"),
    "outcome cut short": ("trained.json", "}", "", "not valid JSON"),
    "rows of two lengths": (SCORED, "c0ffee", "c0ffee\n" + "1," * 40, "not a CSV"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_trusted_is_one_line(tmp_path, case):
    name, old, new, message = BROKEN[case]
    a = entry("A")
    folder = write_run(tmp_path, a)
    collect(planned(a), tmp_path)  # healthy before
    made_up.replace_text(folder / name, old, new)
    with pytest.raises(UserError) as error:
        collect(planned(a), tmp_path)
    printed = str(error.value)
    assert printed.startswith(f"{folder / name}: ")
    assert message.format(run=a["run"], other=a["run"].replace("seed0", "seed9")) in printed
    assert "\n" not in printed


def test_an_empty_file_is_one_line(tmp_path):
    folder = write_run(tmp_path, entry("A"))
    (folder / "magnitudes.csv").write_text("")
    with pytest.raises(UserError, match=r"magnitudes.csv: empty: must have a line of column names$"):
        collect(planned(entry("A")), tmp_path)


def test_a_diverged_run_may_have_a_loss_that_is_no_number(tmp_path):
    write_run(tmp_path, entry("A"), status="diverged", step=60)
    assert collect(planned(entry("A")), tmp_path)["training"]["loss"].tolist() == ["0.75", "nan"]


def test_a_plan_that_lists_a_run_twice_or_lacks_a_field_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    with pytest.raises(UserError, match=r"plan.json: run DiT-Nano-2-A\S+ is listed twice: must be listed once$"):
        read_plan(write_plan(path, [entry("A"), entry("A")]))
    with pytest.raises(UserError, match=r"plan.json: run DiT\S+: missing field 'scores'"):
        read_plan(write_plan(path, [{key: value for key, value in entry("A").items() if key != "scores"}]))
    for text in ("[1]", "{}", '{"runs": [1]}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"plan.json: no list of runs"):
            read_plan(path)


# How version 0.1 left a run that was sampled by its plain weights, beside one that four GPUs trained
OLD_SCORE = """\
run,model,config,modulation,lr,seed,data,sampler,steps,guidance,count,ema_width,step,sampling_seed,features,\
features_hash,reference,reference_count,reference_hash,fid,kid,kid_sd,fid_rank_deficient,fid_floor,kid_floor,\
floor_count,commit
{run},DiT-Nano/2,A,scale_shift,0.001,0,mnist8,ddpm,50,1.0,1000,none,100,0,efficientnet-lite0,fe00,mnist8,5000,4e00,\
50.5,0.125,0.01,True,12.25,0.0005,1000,c0ffee
"""
OLD_OUTCOME = """\
{{"run": "{run}", "status": "trained", "step": 100, "steps": 100, "parameters": 214272, "images_per_second": 640.0,
 "seconds": 20.5, "peak_memory_mb": 500.1, "loss": 0.5, "latents": "{latents}", "device": "4 x NVIDIA H100",
 "threads": 1, "commit": null, "versions": {{"torch": "2.14"}}}}
"""
OLD_FID_TABLE = OLD_SCORE.replace("data,sampler", "data,protocol,sampler").replace("mnist8,ddpm", "mnist8,plain,ddpm")


def test_a_results_folder_of_version_0_1_is_read(tmp_path):
    a = entry("A", scores=["samples/plain/fid-efficientnet-lite0.csv"])
    folder = write_run(tmp_path / "runs", a)
    (folder / a["scores"][0]).write_text(OLD_SCORE.format(run=a["run"]))
    (folder / "trained.json").write_text(OLD_OUTCOME.format(run=a["run"], latents="ab" * 32))
    write_tables(collect(planned(a), tmp_path / "runs"), tmp_path)
    line = (tmp_path / "fid.csv").read_text().splitlines()[1]
    assert line == OLD_FID_TABLE.format(run=a["run"]).replace(",none,", ",,").splitlines()[1]
    assert ",4 x NVIDIA H100,1,\n" in (tmp_path / "runs.csv").read_text()
    new = read_table(tmp_path / "fid.csv", FID)
    write_text(tmp_path / "fid.csv", OLD_FID_TABLE.format(run=a["run"]))
    old = read_table(tmp_path / "fid.csv", FID)
    pd.testing.assert_frame_equal(old, new)
    assert old["ema_width"].isna().all()
    assert old["fid_rank_deficient"].tolist() == [True]
    assert read_table(tmp_path / "runs.csv", RUNS)["paper_setting"].tolist() == [False]


@pytest.mark.slow
def test_no_command_on_results_loads_torch(tmp_path):
    write_losses(write_run(tmp_path / "runs", entry("A")))
    plan, out = write_plan(tmp_path / "plan.json", [entry("A")]), tmp_path / "out"
    script = f"""
import sys
from mpdit import paper
from mpdit.rendering.registry import ARTIFACTS
assert not {{"torch", "pandas", "matplotlib", "numpy"}} & set(sys.modules), "at parse time"
from mpdit.__main__ import main
def run(*words):
    assert main([str(word) for word in words]) == 0, words
run("aggregate", {str(plan)!r}, "--runs", {str(tmp_path / "runs")!r}, "--output", {str(out)!r}, "--heldout")
run("status", "--runs", {str(tmp_path / "runs")!r})
for name, artifact in ARTIFACTS.items():
    output = {str(out)!r} + "/" + name + artifact.suffixes[0]
    run("render", name, "--data", {str(out)!r}, "--runs", {str(tmp_path / "runs")!r}, "--output", output)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_subset_of_the_tables_is_what_the_smaller_plan_gives(tmp_path):
    entries, other = [entry("A"), entry("C"), entry("E")], "ddpm50-guidance1-n1000-ema0.05-step50-seed0"
    for run in entries:
        run["scores"] = [*run["scores"], f"samples/{other}/{SCORE_FILE}"]
        write_run(tmp_path, run)
    whole = collect(planned(*entries), tmp_path)
    fewer = [entries[2], {**entries[0], "scores": entries[0]["scores"][::-1]}, {**entries[1], "scores": []}]
    for plan in (entries, fewer, fewer[2:]):
        ours, theirs = subset(whole, planned(*plan)), collect(planned(*plan), tmp_path)
        for name in theirs:
            pd.testing.assert_frame_equal(ours[name], theirs[name], check_dtype=False)
