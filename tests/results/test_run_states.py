"""The state of a run from its folder, also while it is trained, and whatever the folder looks like."""

import os
import socket
import subprocess
import sys
import time

import pytest
from helpers import made_up_runs as made_up
from helpers.damage import rewrite_json
from helpers.made_up_runs import entry, write_begun_run, write_run

from mpdit.results.run_states import RECENT, RunState, run_state, run_states
from mpdit.system.lock import exclusive


def test_a_trained_run(tmp_path):
    folder = write_run(tmp_path, entry("A"))
    assert run_state(folder) == RunState(folder.name, "trained", 100, 100, loss=0.5, images_per_second=1.5)


def test_a_diverged_run(tmp_path):
    folder = write_run(tmp_path, entry("A"), status="diverged", step=60)
    assert run_state(folder) == RunState(folder.name, "diverged", 60, 100, loss=None, images_per_second=1.5)


def test_a_run_is_running_while_its_lock_is_held_and_stopped_afterwards(tmp_path):
    folder = write_begun_run(tmp_path)
    with exclusive(folder / "lock"):
        # 80 steps of 128 images are left, at 64 images per second
        assert run_state(folder) == RunState(folder.name, "running", 20, 100, 0.8125, 64.0, seconds_left=160.0)
        assert (folder / "lock").read_text().startswith(f"process {os.getpid()} ")
    assert run_state(folder) == RunState(folder.name, "stopped", 20, 100, 0.8125, 64.0)


def test_reading_the_state_does_not_keep_a_trainer_out(tmp_path):
    folder = write_begun_run(tmp_path)
    (folder / "lock").touch()
    assert run_state(folder).state == "stopped"
    with exclusive(folder / "lock", wait=0.1):
        assert run_state(folder).state == "running"


def test_a_killed_trainer_does_not_count_as_running(tmp_path):
    folder = write_begun_run(tmp_path)
    script = (
        f"import os\nfrom mpdit.system.lock import exclusive\nwith exclusive({str(folder / 'lock')!r}): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert "process" in (folder / "lock").read_text()
    assert run_state(folder).state == "stopped"


def test_a_trainer_on_another_machine_counts_as_running_while_its_files_are_recent(tmp_path):
    folder = write_begun_run(tmp_path)
    (folder / "lock").write_text("process 1 on another-host\n")
    assert run_state(folder).state == "running"
    old = time.time() - 2 * RECENT
    os.utime(folder / "training.csv", (old, old))
    assert run_state(folder).state == "stopped"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")

    folder = write_begun_run(tmp_path)
    monkeypatch.setattr("fcntl.flock", refuse)
    (folder / "lock").write_text("")
    assert run_state(folder).state == "stopped"
    (folder / "lock").write_text(f"process 1 on {socket.gethostname()}\n")
    assert run_state(folder).state == "running"


def test_runs_that_have_not_begun(tmp_path):
    assert run_state(tmp_path / "nothing", planned_steps=100) == RunState("nothing", "waiting", None, 100)
    made_up.write_spec(tmp_path / entry("A")["run"], entry("A"))
    assert run_state(tmp_path / entry("A")["run"]).state == "waiting"


def test_a_trained_run_whose_steps_were_raised_is_not_done(tmp_path):
    folder = write_run(tmp_path, entry("A"))
    made_up.write_spec(folder, entry("A", steps=300))
    state = run_state(folder)
    assert (state.state, state.step, state.steps) == ("stopped", 100, 300)


def test_a_run_whose_outcome_has_changed_is_damaged(tmp_path):
    folder = write_run(tmp_path, entry("A"))
    rewrite_json(folder / "trained.json", step=100)
    assert run_state(folder).state == "trained"
    path = folder / "trained.json"
    path.write_text(path.read_text().replace('"step": 100', '"step": 101'))
    assert run_state(folder).state == "damaged"


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "\x00\xff"])
@pytest.mark.parametrize("name", ["spec.json", "trained.json"])
def test_a_run_with_an_unreadable_file_is_damaged(tmp_path, name, text):
    folder = write_run(tmp_path, entry("A"))
    (folder / name).write_bytes(text.encode("latin-1"))
    assert run_state(folder).state == "damaged"


@pytest.mark.parametrize(
    "text", ["", "step", "step,loss\n", "step,loss\n7,x\n", "step,loss\n1,2,3,4\n", "\x00\xff", "step,loss\nnan,inf\n"]
)
def test_an_unreadable_log_leaves_only_its_own_values_unknown(tmp_path, text):
    folder = write_begun_run(tmp_path)
    (folder / "checkpoints").mkdir()
    (folder / "training.csv").write_bytes(text.encode("latin-1"))
    state = run_state(folder)
    assert (state.state, state.loss, state.images_per_second) == ("stopped", None, None)
    (folder / "training.csv").unlink()
    (folder / "training.csv").mkdir()
    assert run_state(folder).state == "stopped"


def test_a_row_that_is_being_written_is_not_read(tmp_path):
    folder = write_begun_run(tmp_path)
    with open(folder / "training.csv", "a") as file:
        file.write("30,0.7")
    assert run_state(folder).step == 20


def test_the_last_row_of_a_long_log_is_found(tmp_path):
    folder = write_begun_run(tmp_path, points=[(step, 0.5) for step in range(1, 3001)])
    assert (folder / "training.csv").stat().st_size > 65536
    assert run_state(folder).step == 3000


def test_folders_and_planned_runs_are_listed_together_with_seed10_after_seed9(tmp_path):
    names = [write_run(tmp_path, entry("A", seed=seed)).name for seed in (10, 9)]
    (tmp_path / "a file").touch()
    (tmp_path / ".hidden").mkdir()
    planned = {names[1]: 100, entry("B")["run"]: 100}
    assert [(run.run, run.state) for run in run_states(tmp_path, planned)] == [
        (names[1], "trained"), (names[0], "trained"), (entry("B")["run"], "waiting"),
    ]  # fmt: skip
    assert run_states(tmp_path / "nowhere", {}) == []
