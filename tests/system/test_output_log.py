"""The copy of what a command prints: complete, appended, and never a reason to fail or to lose a signal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.limits import largest_file

from mpdit.__main__ import main
from mpdit.system.errors import UserError
from mpdit.system.output_log import output_copied_to


def test_what_is_printed_is_in_the_file_and_in_the_terminal(tmp_path, capsys):
    log = tmp_path / "some/folder/log"
    with output_copied_to(log):
        print("a line")
        print("an error", file=sys.stderr)
    print("afterwards")
    assert log.read_text() == "a line\nan error\n"
    assert capsys.readouterr() == ("a line\nafterwards\n", "an error\n")


def test_a_second_command_appends(tmp_path, capsys):
    for _ in range(2):
        with output_copied_to(tmp_path / "log"):
            print("a line")
    assert (tmp_path / "log").read_text() == "a line\na line\n"


def test_without_a_file_nothing_changes(capsys):
    stream = sys.stdout
    with output_copied_to(None):
        assert sys.stdout is stream


def test_a_traceback_is_in_the_file(tmp_path, capsys):
    with pytest.raises(ZeroDivisionError), output_copied_to(tmp_path / "log"):
        _ = 1 / 0
    assert (tmp_path / "log").read_text().endswith("ZeroDivisionError: division by zero\n")


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"--log: .*/file/log: .*: must be a file that can be written"),
        output_copied_to(tmp_path / "file/log"),
    ):
        pass


def test_a_full_disk_silences_the_file_only(tmp_path, capsys):
    with largest_file(10), output_copied_to(tmp_path / "log"):
        print("first")
        print("a line that is too long")
        print("last")
    assert capsys.readouterr().out == "first\na line that is too long\nlast\n"
    assert (tmp_path / "log").read_text().startswith("first\n")


def test_the_error_of_a_command_is_in_both(tmp_path, capsys):
    log = tmp_path / "log"
    assert main(["aggregate", str(tmp_path / "plan.json"), "--runs", "runs", "--output", "out", "--log", str(log)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mpdit aggregate: {tmp_path}/plan.json: ")
    assert log.read_text() == error


def test_a_signal_still_reaches_the_command(tmp_path):
    code = f"""
import signal, sys
from pathlib import Path
from mpdit.system.output_log import output_copied_to
with output_copied_to(Path({str(tmp_path / "log")!r})):
    signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(75)))
    print("ready", flush=True)
    signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "saved\n"
    assert process.returncode == 75
    assert Path(tmp_path / "log").read_text() == "ready\nsaved\n"
