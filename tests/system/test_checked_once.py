"""A large file is compared with its seal once, until its size or time changes."""

import os

import pytest
from helpers.damage import flip_bit

from mpdit.system import checked_once
from mpdit.system.errors import UserError
from mpdit.system.files import write_text
from mpdit.system.seals import Seal, require_intact


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A sealed file of a size from which it is read once."""
    monkeypatch.setattr(checked_once, "SMALLEST", 10)
    write_text(tmp_path / "samples.npz", "large enough")
    return tmp_path / "samples.npz"


def test_a_large_file_is_read_once_until_it_is_changed(path, monkeypatch):
    require_intact(path)
    with monkeypatch.context() as patch:
        patch.setattr(Seal, "fits", lambda *_: pytest.fail("read again"))
        require_intact(path)
    flip_bit(path)
    with pytest.raises(UserError, match="damaged"):
        require_intact(path)
    write_text(path, "another text")
    require_intact(path)


def test_a_file_that_was_only_touched_is_read_again(path, monkeypatch):
    require_intact(path)
    os.utime(path, (1, 1))
    monkeypatch.setattr(Seal, "fits", lambda *_: False)
    with pytest.raises(UserError, match="damaged"):
        require_intact(path)


def test_a_small_file_is_read_each_time(path, monkeypatch):
    monkeypatch.setattr(checked_once, "SMALLEST", 100)
    require_intact(path)
    monkeypatch.setattr(Seal, "fits", lambda *_: False)
    with pytest.raises(UserError, match="damaged"):
        require_intact(path)
