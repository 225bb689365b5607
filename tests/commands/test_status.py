"""`mpdit status`: every run as it stands, also while it is trained, and whatever its folder looks like."""

import os
import socket
import subprocess
import sys
import time

import pytest
from helpers import made_up_runs as made_up
from helpers.made_up_runs import entry, write_plan, write_run

from mpdit.__main__ import main
from mpdit.commands.status import FRESH, state
from mpdit.system.lock import exclusive


def cells(folder, steps=None) -> dict:
    return dict(zip(("run", "state", "step", "loss", "speed", "left"), state(folder, steps), strict=True))


def begun(runs, letter="A", points=((10, 0.9), (20, 0.8125))):
    """A run at step 20 of 100 of 128 images, 64 images a second."""
    folder = runs / entry(letter)["run"]
    made_up.write_spec(folder, entry(letter))
    made_up.write_training(folder, list(points))
    path = folder / "training.csv"
    header, *rows = path.read_text().splitlines()
    place = header.split(",").index("images_per_second")
    rows = [",".join("64.0" if i == place else cell for i, cell in enumerate(row.split(","))) for row in rows]
    path.write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_a_run_that_has_ended(tmp_path):
    folder = write_run(tmp_path, entry("A"))
    assert cells(folder) == {
        "run": folder.name, "state": "trained", "step": "100 of 100", "loss": "0.5", "speed": "1.5", "left": "-",
    }  # fmt: skip


def test_a_run_that_has_diverged(tmp_path):
    folder = write_run(tmp_path, entry("A"), status="diverged", step=60)
    found = cells(folder)
    assert (found["state"], found["step"], found["loss"]) == ("diverged", "60 of 100", "-")


def test_a_run_is_running_while_its_lock_is_held_and_stopped_after(tmp_path):
    folder = begun(tmp_path)
    with exclusive(folder / "lock"):
        assert cells(folder) == {
            "run": folder.name, "state": "running", "step": "20 of 100", "loss": "0.812", "speed": "64",
            "left": "2 min 40 s",  # 80 steps of 128 images at 64 images a second
        }  # fmt: skip
        assert (folder / "lock").read_text().startswith(f"process {os.getpid()} ")
    found = cells(folder)
    assert (found["state"], found["left"]) == ("stopped", "-")


def test_looking_does_not_keep_a_trainer_out(tmp_path):
    folder = begun(tmp_path)
    (folder / "lock").touch()
    assert cells(folder)["state"] == "stopped"
    with exclusive(folder / "lock", wait=0.1):
        assert cells(folder)["state"] == "running"


def test_a_killed_trainer_does_not_count_as_running(tmp_path):
    folder = begun(tmp_path)
    script = (
        f"import os\nfrom mpdit.system.lock import exclusive\nwith exclusive({str(folder / 'lock')!r}): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert "process" in (folder / "lock").read_text()
    assert cells(folder)["state"] == "stopped"


def test_a_trainer_on_another_machine_is_told_by_how_fresh_its_files_are(tmp_path):
    folder = begun(tmp_path)
    (folder / "lock").write_text("process 1 on another-host\n")
    assert cells(folder)["state"] == "running"
    old = time.time() - 2 * FRESH
    os.utime(folder / "training.csv", (old, old))
    assert cells(folder)["state"] == "stopped"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")

    folder = begun(tmp_path)
    monkeypatch.setattr("fcntl.flock", refuse)
    (folder / "lock").write_text("")
    assert cells(folder)["state"] == "stopped"
    (folder / "lock").write_text(f"process 1 on {socket.gethostname()}\n")
    assert cells(folder)["state"] == "running"


def test_runs_that_have_not_begun(tmp_path):
    assert cells(tmp_path / "nothing", steps=100) == {
        "run": "nothing", "state": "waiting", "step": "- of 100", "loss": "-", "speed": "-", "left": "-",
    }  # fmt: skip
    made_up.write_spec(tmp_path / entry("A")["run"], entry("A"))
    assert cells(tmp_path / entry("A")["run"])["state"] == "waiting"


def test_a_trained_run_that_is_asked_for_more_steps_is_not_done(tmp_path):
    folder = write_run(tmp_path, entry("A"))
    made_up.write_spec(folder, entry("A", steps=300))
    found = cells(folder)
    assert (found["state"], found["step"]) == ("stopped", "100 of 300")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "\x00\xff"])
@pytest.mark.parametrize("name", ["spec.json", "trained.json"])
def test_a_damaged_run_is_shown_as_such(tmp_path, name, text):
    folder = write_run(tmp_path, entry("A"))
    (folder / name).write_bytes(text.encode("latin-1"))
    assert cells(folder)["state"] == "damaged"


@pytest.mark.parametrize(
    "text", ["", "step", "step,loss\n", "step,loss\n7,x\n", "step,loss\n1,2,3,4\n", "\x00\xff", "step,loss\nnan,inf\n"]
)
def test_an_unreadable_log_costs_its_cells_only(tmp_path, text):
    folder = begun(tmp_path)
    (folder / "checkpoints").mkdir()
    (folder / "training.csv").write_bytes(text.encode("latin-1"))
    found = cells(folder)
    assert (found["state"], found["loss"], found["speed"]) == ("stopped", "-", "-")
    (folder / "training.csv").unlink()
    (folder / "training.csv").mkdir()
    assert cells(folder)["state"] == "stopped"


def test_a_row_that_is_being_written_is_not_read(tmp_path):
    folder = begun(tmp_path)
    with open(folder / "training.csv", "a") as file:
        file.write("30,0.7")
    assert cells(folder)["step"] == "20 of 100"


def test_the_last_row_of_a_long_log_is_found(tmp_path):
    folder = begun(tmp_path, points=[(step, 0.5) for step in range(1, 3001)])
    assert (folder / "training.csv").stat().st_size > 65536
    assert cells(folder)["step"].startswith("3,000 ")


def test_the_command_lists_folders_and_plans_in_aligned_columns(tmp_path, capsys):
    runs = tmp_path / "runs"
    write_run(runs, entry("A", seed=10))
    write_run(runs, entry("A", seed=9))
    plan = write_plan(tmp_path / "plan.json", [entry("A", seed=9), entry("B")])
    (runs / "a file").touch()
    with exclusive(begun(runs, "C") / "lock"):
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


def test_no_runs_yet(tmp_path, capsys):
    assert main(["status", "--runs", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'runs'}: no runs yet\n"
