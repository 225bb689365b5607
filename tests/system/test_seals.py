"""Whatever changes in a sealed file is noticed, and a file agrees with its seal whenever a process is killed."""

import fcntl
import json
import os

import numpy as np
import pytest
from helpers.damage import cut_line, flip_bit

from mpdit.system import files, seals
from mpdit.system.errors import UserError
from mpdit.system.files import read_json, replacing, write_csv, write_json, write_text
from mpdit.system.seals import (
    array_seal,
    inspect,
    read_intact,
    require_array_intact,
    require_intact,
    seal_file,
    unsealed_note,
)

ROWS = [{"step": step, "loss": 1 / step} for step in range(1, 30)]


@pytest.fixture
def table(tmp_path):
    """A sealed CSV."""
    write_csv(tmp_path / "table.csv", ("step", "loss"), ROWS)
    return tmp_path / "table.csv"


@pytest.fixture(autouse=True)
def _no_notes_of_other_tests():
    unsealed_note()


def damage_of(path):
    with pytest.raises(UserError) as error:
        require_intact(path, "do this")
    with pytest.raises(UserError) as same:
        read_intact(path, "do this")
    assert str(same.value) == str(error.value)
    return str(error.value)


def test_a_file_is_read_as_it_was_written(table):
    require_intact(table)
    assert read_intact(table) == table.read_bytes()
    assert inspect(table) == seals.Inspection(sealed=True)
    assert unsealed_note() is None


DAMAGES = {
    "a flipped bit": flip_bit,
    "a cut in a line": lambda path: os.truncate(path, path.stat().st_size - 3),
    "a cut between lines": lambda path: cut_line(path, -1),
    "a line missing in the middle": lambda path: cut_line(path, 10),
    "an added line": lambda path: path.write_text(path.read_text() + "30,0.1\n"),
    "another file": lambda path: path.write_text("step,loss\n"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line_that_names_the_file_and_the_way_out(table, damage):
    DAMAGES[damage](table)
    assert damage_of(table) == f"{table}: damaged: its content is not what was written; do this"


def test_a_damaged_seal_is_one_line_too(table):
    seal_file(table).write_text("nonsense")
    assert damage_of(table).startswith(f"{table}: damaged: .table.csv.seal cannot be read")
    write_csv(table, ("step", "loss"), ROWS)
    require_intact(table)


def test_a_file_that_grows_keeps_what_was_sealed(tmp_path):
    path = tmp_path / "training.csv"
    write_csv(path, ("step", "loss"), ROWS, grows=True)
    with open(path, "a") as file:
        file.write("30,0.1\n31,0.")
    assert read_intact(path).endswith(b"31,0.")
    cut_line(path, 5)
    assert "damaged" in damage_of(path)


@pytest.mark.parametrize("earlier", ["none", "sealed", "unsealed"])
def test_file_and_seal_agree_wherever_the_writer_is_killed(tmp_path, monkeypatch, earlier):
    """The writer is stopped before its first, second, ... move of a file into place."""
    path = tmp_path / "table.csv"
    write_text(path, "old") if earlier == "sealed" else path.write_text("old") if earlier == "unsealed" else None
    move, left = os.replace, 0

    class Killed(BaseException):
        pass

    def kill_at_last(source, target):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        move(source, target)

    monkeypatch.setattr(files.os, "replace", kill_at_last)
    for moves in range(10):
        left = moves
        try:
            write_text(path, "new")
        except Killed:
            assert not path.exists() or inspect(path).damage is None, moves
        else:
            break
    assert moves == (2 if earlier == "none" else 3)
    assert read_intact(path) == b"new"
    assert len(seal_file(path).read_text().splitlines()) == 1


def test_json_holds_its_own_seal_however_it_is_laid_out(tmp_path):
    path = tmp_path / "trained.json"
    value = {"run": "a", "loss": 0.1, "versions": {"torch": None}, "steps": [1, 2]}
    write_json(path, value)
    assert read_json(path, "do this") == value and unsealed_note() is None
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert read_json(path, "do this") == value and inspect(path) == seals.Inspection(sealed=True)
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(UserError, match=r"trained.json: damaged: its content is not what was written; do this$"):
        read_json(path, "do this")
    assert inspect(path).damage == seals.CHANGED


def test_the_seal_of_an_array_covers_its_header_and_data(tmp_path):
    path = tmp_path / "mean.npy"
    np.save(path, np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    seal, content = array_seal(path), path.read_bytes()
    require_array_intact(path, seal)
    for position in (20, len(content) - 1):
        flip_bit(path, position)
        with pytest.raises(UserError, match=r"mean.npy: damaged: its content is not what was written; "):
            require_array_intact(path, seal)
        path.write_bytes(content)
    flip_bit(path, 0)
    with pytest.raises(UserError, match=r"mean.npy: damaged: not an array in the .npy format; "):
        require_array_intact(path, seal)


def test_files_without_a_seal_are_accepted_with_one_note(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text("0.1")
        require_intact(tmp_path / name)
        assert read_intact(tmp_path / name) == b"0.1"
    note = unsealed_note()
    assert note.startswith(f"note: {tmp_path}/a and 2 other files: written without a seal")
    assert unsealed_note() is None


def test_what_killed_writers_have_left_is_removed_by_the_next(tmp_path):
    left = [".samples.4711.part.npz", ".samples.npz.4711.part.seal"]
    others = [".samples.4711.part.csv", ".other.4711.part.npz", ".samples.notes.part.npz"]
    for name in left + others:
        (tmp_path / name).write_bytes(b"half")
    being_written = tmp_path / ".samples.4712.part.npz"
    with replacing(tmp_path / "samples.npz") as part:
        part.write_bytes(b"whole")
        with pytest.raises(BlockingIOError), open(part, "rb") as same:
            fcntl.flock(same, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(being_written, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(tmp_path / "samples.npz", "whole")
        assert being_written.exists()
    write_text(tmp_path / "samples.npz", "whole")
    assert not being_written.exists()
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in others)
