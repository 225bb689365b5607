"""The seal in a safetensors file's header; that every changed bit is noticed is tested with checkpoints."""

import numpy as np
import pytest
from helpers.damage import flip_bit
from safetensors.numpy import save_file

from mpdit.system import safetensors_seal
from mpdit.system.safetensors_seal import UNSEALED, fill_in, inspect, read_metadata


def write(path, metadata=None):
    save_file({"w": np.arange(12, dtype=np.float32)}, path, metadata=metadata)


def test_a_sealed_file_is_intact_until_a_bit_changes(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, {"step": "7", **UNSEALED})
    fill_in(path)
    assert inspect(path) == (True, None)
    assert read_metadata(path)["step"] == "7"
    flip_bit(path, -1)
    assert inspect(path) == (True, "its content does not match its seal")


def test_every_changed_bit_is_noticed_those_of_the_seal_as_well(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, {"step": "7", **UNSEALED})
    fill_in(path)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert inspect(path)[1] is not None, f"bit {bit % 8} of byte {bit // 8}"


def test_a_file_without_a_seal_is_accepted_and_another_file_is_not(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path)
    assert inspect(path) == (False, None)
    assert read_metadata(path) == {}
    path.write_bytes(b"something else")
    assert inspect(path) == (False, "not a safetensors file")
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_metadata(path)


def test_files_of_a_length_that_reading_in_parts_must_get_right(tmp_path, monkeypatch):
    """The last part is full, is shorter, or is a single byte."""
    monkeypatch.setattr(safetensors_seal, "READ_BYTES", 16)
    path = tmp_path / "model.safetensors"
    for count in range(1, 20):
        save_file({"w": np.arange(count, dtype=np.uint8)}, path, metadata=UNSEALED)
        fill_in(path)
        assert inspect(path) == (True, None)
        flip_bit(path, -1)
        assert inspect(path)[1] is not None
