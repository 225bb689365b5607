"""Whatever file is missing, damaged or cannot be written, every command says so in one line."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.command_chain import STEPS, Line, few_artifacts, make_study
from helpers.limits import largest_file

from mpdit.__main__ import VERBS

pytestmark = pytest.mark.slow  # every command once, then several times up to where it fails

READ = {  # what has become of a file or folder that a command reads
    "gone": lambda path: None,
    "a folder for a file, or a file for a folder": lambda path: path.mkdir() if path.suffix else path.write_text("x"),
    "unreadable": lambda path: path.symlink_to("/proc/self/mem"),
    "noise": lambda path: path.write_bytes(b"\xff\x00noise\n"),
}
INTO_FOLDERS = ("encode", "encode heldout", "sample", "aggregate", "interim", "import")  # what they write


@pytest.fixture(scope="module")
def study(tmp_path_factory, digit_folder) -> Iterator[dict[str, Line]]:
    """The command lines of a finished study; each test leaves its files as they were."""
    pictures = shutil.copytree(digit_folder, tmp_path_factory.mktemp("pictures") / "digits")
    with few_artifacts():
        yield make_study(tmp_path_factory.mktemp("study"), pictures)


@contextmanager
def replaced(path: Path, put) -> Iterator[None]:
    """Within this context, `put` has put something else, or nothing, in the place of a file or folder."""
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        put(path)
        yield
    finally:
        remove(path)
        away.rename(path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def assert_fails_in_one_line(status: int, step: str, printed, what: str) -> None:
    lines = [line for line in printed.err.splitlines() if line]
    if step == "train" and not lines:  # a trainer reports in its log
        lines = [f"mpdit train: {line}" for line in printed.out.splitlines() if "stops: " in line]
    assert status in (1, 2), f"{step}, {what}: {printed}"
    assert len(lines) == 1, f"{step}, {what}: {printed.err}"
    assert lines[0].startswith(f"mpdit {step.split()[0]}: ") and len(lines[0]) > 30, lines


def test_every_command_is_here():
    commands = {step.split()[0] for step in STEPS}
    assert commands == set(VERBS) - {"describe", "doctor", "verify"}  # no files; findings, a line each


@pytest.mark.parametrize("step", STEPS)
def test_what_cannot_be_read_is_one_line(study, step, capsys):
    assert set(study) == set(STEPS)
    line = study[step]
    for path in line.reads:
        for fault, put in READ.items():
            with replaced(path, put):
                status = line.run()
            assert_fails_in_one_line(status, step, capsys.readouterr(), f"{path.name} {fault}")


@pytest.mark.parametrize("step", STEPS)
def test_what_cannot_be_written_is_one_line(study, step, capsys, tmp_path):
    line = study[step]
    if line.output is None:
        return
    (tmp_path / "file").write_text("x")
    taken = tmp_path / f"taken{line.output.suffix}"
    if step in INTO_FOLDERS:
        taken.write_text("x")
    else:
        (taken / "full").mkdir(parents=True)
    for fault, output in (
        ("below a file", tmp_path / "file" / line.output.name),
        ("where none may write", Path("/sys") / line.output.name),
        ("what is there is of another kind", taken),
    ):
        if step != "train" or output != taken:  # which is the name of a folder's file
            assert_fails_in_one_line(line.run(output), step, capsys.readouterr(), fault)
    with largest_file(0):
        status = line.run(tmp_path / "new" / line.output.name)
    assert_fails_in_one_line(status, step, capsys.readouterr(), "the disk is full")
