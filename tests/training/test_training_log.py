"""What training reports while it runs: lines for people, and training.csv."""

import os
import sys

import pytest
from helpers.damage import cut_line, flip_bit
from helpers.limits import largest_file
from helpers.tiny_runs import log_lines, make_spec, train_in

from mpdit.experiment.columns import TRAINING
from mpdit.system.errors import UserError
from mpdit.system.seals import read_intact
from mpdit.training.loss_sums import LossMeans
from mpdit.training.training_log import COLUMNS, RunLog, TrainingRow, TrainingTable

MEANS = LossMeans(
    loss=1.5, simple=1.25, variational=0.25, loss_q1=float("nan"), loss_q2=2.0, loss_q3=1.0, loss_q4=0.123456789,
    grad_norm=3.0,
)  # fmt: skip


def row(step, **changes):
    values = {"lr": 1e-3, "weight_norm": 20.0, "images_per_second": 640.0, "seconds": 1.0, "memory_mb": 500.0}
    return TrainingRow(step=step, means=MEANS, **{**values, **changes})


def lines(path):
    return path.read_text().splitlines()


# --- Lines ---


def test_a_closed_terminal_does_not_stop_training(tmp_path, latents, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert train_in(tmp_path, make_spec(), latents, log_every=1) == 0
    assert log_lines(tmp_path)[-1].startswith("trained: step 12")


def test_lines_go_to_the_terminal_and_to_the_file_and_progress_only_now_and_then(tmp_path, capsys):
    log = RunLog("a-run", tmp_path / "train.log")
    log.report("starts")
    for step in range(5):
        log.progress(f"step {step}")
    assert capsys.readouterr().out == "a-run: starts\na-run: step 0\n"
    assert [line[20:] for line in lines(tmp_path / "train.log")] == ["a-run: starts", "a-run: step 0"]


def test_a_silent_log_writes_nothing(tmp_path, capsys):
    RunLog("a-run", tmp_path / "train.log", silent=True).report("starts")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "train.log").exists()


# --- training.csv ---


def test_the_columns_are_those_declared_without_the_run():
    assert ("run", *COLUMNS) == TRAINING.names


def test_a_row_is_written_to_seven_significant_digits(tmp_path):
    TrainingTable(tmp_path / "training.csv", logged=0).append(row(50, images_per_second=123456.789))
    header, line = lines(tmp_path / "training.csv")
    assert tuple(header.split(",")) == COLUMNS
    assert line == "50,1.5,1.25,0.25,nan,2,1,0.1234568,3,0.001,20,123456.8,1,500,training"


def test_a_resumed_table_keeps_the_complete_rows_up_to_the_checkpoint(tmp_path):
    path = tmp_path / "training.csv"
    table = TrainingTable(path, logged=0)
    for step in (50, 100, 150):
        table.append(row(step, memory_mb=float(step)))
    with open(path, "a") as file:
        file.write("200,0.5,0.")  # cut short by a kill
    kept = lines(path)[:3]
    resumed = TrainingTable(path, logged=100)
    assert lines(path) == kept
    resumed.end("trained")
    resumed = TrainingTable(path, logged=100)
    assert lines(path) == kept
    resumed.append(row(150))
    assert [line.split(",")[0] for line in lines(path)] == ["step", "50", "100", "150"]
    assert (resumed.last_loss, resumed.peak_memory_mb) == (1.5, 500)


def test_lost_and_changed_rows_come_back_from_the_checkpoint(tmp_path):
    path = tmp_path / "training.csv"
    table = TrainingTable(path, logged=0)
    for step in (50, 100):
        table.append(row(step))
    complete = table.text()
    assert path.read_text() == complete
    for damage in (lambda: cut_line(path, 1), lambda: flip_bit(path), path.unlink):
        damage()
        TrainingTable(path, logged=100, text=complete)
        assert read_intact(path).decode() == complete


def test_the_seal_covers_the_rows_of_the_last_checkpoint_and_at_the_end_all(tmp_path):
    path = tmp_path / "training.csv"
    table = TrainingTable(path, logged=0)
    table.append(row(50))
    table.sync()
    table.append(row(100))
    assert read_intact(path).decode() == table.text()
    content = path.read_text()
    cut_line(path, 1)
    with pytest.raises(UserError, match="damaged: its content"):
        read_intact(path)
    with pytest.raises(UserError, match="damaged: its content"):
        TrainingTable(path, logged=100)
    path.write_text(content)
    table.end("trained")
    cut_line(path, 2)
    with pytest.raises(UserError, match="damaged: its content"):
        read_intact(path)


@pytest.mark.parametrize("content", ["", "step,loss\n1,2\n", "no table at all"])
def test_a_file_with_other_columns_is_replaced(tmp_path, content):
    (tmp_path / "training.csv").write_text(content)
    TrainingTable(tmp_path / "training.csv", logged=100)
    assert lines(tmp_path / "training.csv") == [",".join(COLUMNS)]


def test_rows_that_a_full_disk_refused_are_written_with_the_next_one(tmp_path):
    table = TrainingTable(tmp_path / "training.csv", logged=0)
    table.append(row(50))
    with largest_file(10):
        table.append(row(100))
    assert len(lines(tmp_path / "training.csv")) == 2
    table.append(row(150))
    assert [line.split(",")[0] for line in lines(tmp_path / "training.csv")] == ["step", "50", "100", "150"]
