"""Checkpoints come back as they were saved, and damage is noticed."""

import errno
import re

import pytest
import torch
from helpers.limits import largest_file
from safetensors import SafetensorError
from safetensors.torch import load_file

from mpdit.experiment.run_files import list_checkpoints
from mpdit.system.safetensors_seal import read_metadata
from mpdit.training import checkpoint, sealed_tensors


def save(folder, step, size=5):
    tensors = {"model/weight": torch.randn(size, size), "optimizer/step": torch.tensor(float(step))}
    return checkpoint.save_checkpoint(
        folder, step, tensors, {"step": str(step), "spec": '{"run": "file_xxh3_128"}'}
    ), tensors


def steps(folder):
    return [step for step, _ in list_checkpoints(folder)]


def test_a_saved_checkpoint_is_read_back_bit_identically(tmp_path):
    path, tensors = save(tmp_path, 7)
    assert path.name == "step-00000007.safetensors"
    assert checkpoint.find_damage(path) is None
    assert read_metadata(path)["spec"] == '{"run": "file_xxh3_128"}'
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_one_changed_bit_in_any_byte_is_noticed(tmp_path):
    path, _ = save(tmp_path, 7, size=2)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mask in (1, 32, 128):  # 32 changes the case of letters, such as the digits of the seal
            broken = bytearray(whole)
            broken[position] ^= mask
            path.write_bytes(broken)
            assert checkpoint.find_damage(path) is not None, (position, mask)


def test_missing_and_added_bytes_are_noticed(tmp_path):
    path, _ = save(tmp_path, 7, size=2)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert checkpoint.find_damage(path) is not None, length
    path.write_bytes(whole + b"\0")
    assert checkpoint.find_damage(path) == "its content does not match its seal"


def test_the_last_two_checkpoints_are_kept(tmp_path):
    for step in (5, 10, 15, 20):
        save(tmp_path, step)
    assert steps(tmp_path) == [15, 20]
    save(tmp_path, 20)
    assert steps(tmp_path) == [15, 20]


def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_is_used_and_kept(tmp_path):
    good, _ = save(tmp_path, 5)
    newest, _ = save(tmp_path, 10)
    newest.write_bytes(newest.read_bytes()[:-1])
    lines = []
    assert checkpoint.newest_checkpoint(tmp_path, lines.append) == good
    assert lines == [
        f"{newest}: damaged checkpoint (its content does not match its seal): ignored, trying the one before it"
    ]
    save(tmp_path, 8)  # training resumed from step 5
    assert steps(tmp_path) == [5, 8]


def test_without_an_undamaged_checkpoint_the_result_is_none(tmp_path):
    lines = []
    assert checkpoint.newest_checkpoint(tmp_path / "missing", lines.append) is None
    assert lines == []
    save(tmp_path, 5)[0].write_bytes(b"")
    assert checkpoint.newest_checkpoint(tmp_path, lines.append) is None
    assert len(lines) == 1


def test_a_failed_write_leaves_the_earlier_checkpoints_as_they_were(tmp_path):
    save(tmp_path, 5)
    save(tmp_path, 10)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with largest_file(4096), pytest.raises(OSError) as error:
        save(tmp_path, 15, size=100)
    assert error.value.errno == errno.EFBIG
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_raises_an_os_error(tmp_path, monkeypatch):
    def full(*_, **__):  # what safetensors raises on a full tmpfs
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(sealed_tensors, "save_file", full)
    with pytest.raises(OSError, match=re.escape("No space left on device")) as error:
        save(tmp_path, 5)
    assert error.value.errno == errno.ENOSPC
