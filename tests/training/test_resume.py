"""Which checkpoints a run may resume from, checkpoints of version 0.1 among them."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from helpers.tiny_runs import assert_same_run, log_lines, make_spec, train_in, write_latents
from safetensors.torch import load_file, save_file

from mpdit.experiment.run_files import list_checkpoints
from mpdit.system.errors import UserError
from mpdit.system.safetensors_seal import read_metadata
from mpdit.training.resume import CheckpointMetadata

# Metadata of a checkpoint of `make_spec()` at step 8, as version 0.1 wrote it.
VERSION_0_1 = {
    "step": "8",
    "logged": "5",
    "seconds": "1.25",
    "spec": (
        '{"config": "E", "data": {"autoencoder": null, "flips": "none", "name": "random", "resolution": 4}, "fields": '
        '{"activation": "mp_silu", "attention": "cosine", "embeddings": "mp", "gate_offset": 1.0, "norm": "none", '
        '"pos_center": "token", "sums": "mp", "weights": "forced"}, "lr": 0.01, "model": "DiT-Nano/2", "modulation": '
        '"scale_shift", "run": "DiT-Nano-2-E-scale_shift-lr0.01-seed0-99ff231a", "seed": 0, "training": {"batch_size": '
        '8, "betas": [0.9, 0.99], "decay_start": 6, "ema_widths": [0.05, 0.1], "gradient_clip": null, "label_dropout": '
        '0.1, "precision": "float32", "schedule": "inverse_sqrt", "snapshot_dtype": "float32", "snapshots": 3, '
        '"warmup_steps": 3}}'
    ),
    "latents": f"{50:064x}",
}
# Names of its tensors for one of the parameters, and those that belong to none.
NAMES_0_1 = {
    f"{part}/final.output.gain"
    for part in ("model", "ema/0.05", "ema/0.1", "optimizer/step", "optimizer/exp_avg", "optimizer/exp_avg_sq")
}
SUMS_0_1 = {"tally/sums", "tally/high_steps", "tally/bad_step"}


def write_checkpoint(path, tensors, metadata):
    """Write a checkpoint as version 0.1 did: its SHA-256 is that of the file with 64 zeros in the SHA-256's place."""
    save_file(tensors, path, metadata={**metadata, "file_sha256": "0" * 64})
    content = path.read_bytes()
    seal = hashlib.sha256(content).hexdigest()
    path.write_bytes(content.replace(b'"file_sha256":"' + b"0" * 64, b'"file_sha256":"' + seal.encode(), 1))


def test_a_checkpoint_of_version_0_1_resumes_bit_identically(tmp_path, latents, uninterrupted):
    """Its metadata is spelled out above; its tensors have the names and values of version 0.1's."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    (_, earlier), (_, last) = list_checkpoints(tmp_path / "run" / "checkpoints")
    last.unlink()
    tensors = load_file(earlier)
    parameters = {name.removeprefix("model/") for name in tensors if name.startswith("model/")}
    assert {name for name in tensors if name.endswith("final.output.gain")} == NAMES_0_1
    assert len(tensors) == len(NAMES_0_1) * len(parameters) + len(SUMS_0_1) and tensors.keys() >= SUMS_0_1
    write_checkpoint(earlier, tensors, VERSION_0_1)
    assert train_in(tmp_path / "run", make_spec(), latents) == 0
    assert any(line.startswith("continues from step 8 of 12 steps") for line in log_lines(tmp_path / "run"))
    assert_same_run(tmp_path / "run", uninterrupted)


def test_checkpoints_have_the_metadata_of_version_0_1(uninterrupted):
    path = uninterrupted / "checkpoints" / "step-00000008.safetensors"
    metadata = read_metadata(path)
    assert metadata.keys() == {*VERSION_0_1, "table", "snapshots", "file_xxh3_128"}
    assert {key: metadata[key] for key in VERSION_0_1 if key != "seconds"} == {
        key: value for key, value in VERSION_0_1.items() if key != "seconds"
    }
    assert float(metadata["seconds"]) > 0


def test_metadata_is_read_as_it_was_written(tmp_path):
    metadata = CheckpointMetadata(8, 5, 1.25, json.loads(VERSION_0_1["spec"]), VERSION_0_1["latents"])
    assert metadata.to_safetensors() == VERSION_0_1
    for name, written in {"old": metadata, "new": replace(metadata, table="step\n5\n", snapshots=(4, 8))}.items():
        write_checkpoint(tmp_path / name, {}, written.to_safetensors())
        assert CheckpointMetadata.read(tmp_path / name) == written


def test_a_checkpoint_of_another_spec_is_an_error_in_one_line(uninterrupted, latents):
    with pytest.raises(UserError) as error:
        train_in(uninterrupted, make_spec(batch_size=16), latents)
    assert "training.batch_size is 8 in this checkpoint, but 16 in the spec" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_other_latents_is_an_error_in_one_line(tmp_path, uninterrupted):
    other = write_latents(tmp_path / "latents", count=51, posterior=True)
    expected = "trained on latents 000000000000, but resumed with latents 000000000000:"
    with pytest.raises(UserError, match=expected) as error:
        train_in(uninterrupted, make_spec(), other)
    assert "\n" not in str(error.value)
