"""`mpdit status`: what it prints."""

from helpers.made_up_runs import entry, write_begun_run, write_plan, write_run

from mpdit.__main__ import main
from mpdit.commands.status import cells
from mpdit.results.run_states import RunState
from mpdit.system.lock import exclusive


def test_cells_of_a_run():
    assert cells(RunState("a", "running", 1020, 20000, loss=0.8125, images_per_second=640.4, seconds_left=160.0)) == (
        "a", "running", "1,020 of 20,000", "0.812", "640", "2 min 40 s",
    )  # fmt: skip
    assert cells(RunState("a", "waiting", steps=100)) == ("a", "waiting", "- of 100", "-", "-", "-")
    assert cells(RunState("a", "damaged", 7)) == ("a", "damaged", "7", "-", "-", "-")
    assert cells(RunState("a", "damaged")) == ("a", "damaged", "-", "-", "-", "-")


def test_the_command_lists_folders_and_plans_in_aligned_columns(tmp_path, capsys):
    runs = tmp_path / "runs"
    write_run(runs, entry("A", seed=10))
    write_run(runs, entry("A", seed=9))
    plan = write_plan(tmp_path / "plan.json", [entry("A", seed=9), entry("B")])
    (runs / "a file").touch()
    with exclusive(write_begun_run(runs, "C") / "lock"):
        assert main(["status", "--runs", str(runs), "--plan", str(plan)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["run", "state"],
        [entry("A", seed=9)["run"], "trained"],
        [entry("A", seed=10)["run"], "trained"],
        [entry("B")["run"], "waiting"],
        [entry("C")["run"], "running"],
        ["4", "runs:"],
    ]
    assert lines[-1] == "4 runs: 2 trained, 1 running, 1 waiting"
    states = {
        line.index(word) for line in lines[:-1] for word in ("state", "trained", "waiting", "running") if word in line
    }
    assert len(states) == 1
    assert all(line.index(" of 100") == lines[1].index(" of 100") for line in lines[1:-1])


def test_a_folder_without_runs(tmp_path, capsys):
    assert main(["status", "--runs", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'runs'}: no runs yet\n"
