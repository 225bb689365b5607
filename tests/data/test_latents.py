"""Latents as training, sampling and scoring read them: whitened batches, decoding, and damaged folders."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.autoencoders import SCALING, SHIFT, make_autoencoder, save_autoencoder
from helpers.damage import flip_bit, rewrite_json
from helpers.digits import DIGITS, some_digits

from mpdit.data.encode import encode
from mpdit.data.latents import Latents, to_raw
from mpdit.system.errors import UserError
from mpdit.system.seals import unsealed_note


@pytest.fixture
def latents_copy(tiny_latents, tmp_path):
    """A copy of the tiny latents, to be damaged."""
    return shutil.copytree(tiny_latents, tmp_path / "copy")


def test_reading_latents_loads_no_picture_code():
    code = "import sys, mpdit.data.latents; print(*{'PIL', 'pyarrow', 'mpdit.data.pictures'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


# Pixels


def test_arrays_are_memory_maps(tiny_latents):
    latents = Latents(tiny_latents)
    assert isinstance(latents.mean, np.memmap) and isinstance(latents.labels, np.memmap)
    assert (latents.shape, latents.count, latents.num_classes, latents.std) == ((1, 8, 8), 64, 10, None)
    assert len(np.unique(latents.labels)) == 10


def test_whitened_pixels_have_mean_zero_and_standard_deviation_one(tiny_latents):
    x, labels = Latents(tiny_latents).batch(torch.arange(64))
    assert (x.dtype, x.shape, labels.dtype) == (torch.float32, (64, 1, 8, 8), torch.int64)
    assert abs(x.double().mean()) < 1e-6
    assert x.double().std(correction=0) == pytest.approx(1, abs=1e-6)


def test_a_batch_is_in_the_order_of_its_indices(tiny_latents):
    latents = Latents(tiny_latents)
    indices = torch.tensor([63, 0, 5, 5])
    x, labels = latents.batch(indices, torch.Generator())
    all_x, all_labels = latents.batch(torch.arange(64))
    assert torch.equal(x, all_x[indices])
    assert torch.equal(labels, all_labels[indices])


def test_raw_pixels_run_from_minus_one_to_one():
    assert to_raw(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_decoded_pixels_are_the_stored_ones(tiny_latents):
    latents = Latents(tiny_latents)
    decoded = latents.decode(latents.batch(torch.arange(64))[0])
    assert (decoded.dtype, decoded.shape) == (torch.uint8, (64, 8, 8, 3))
    assert np.array_equal(decoded.numpy(), np.repeat(latents.mean.transpose(0, 2, 3, 1), 3, axis=3))


def test_decoding_rounds_to_nearest_and_clips(tiny_latents):
    latents = Latents(tiny_latents)
    offset, scale = latents.whitening()
    raw = torch.tensor([99.4, 99.6, -20, 300]) / 127.5 - 1
    x = ((raw.view(4, 1, 1, 1) - offset) / scale).expand(4, 1, 8, 8)
    assert latents.decode(x)[:, 0, 0, 0].tolist() == [99, 100, 0, 255]


# With an autoencoder


def test_channel_statistics_are_those_of_the_stored_mixture(encoded_digits):
    latents = encoded_digits.latents
    mean = np.asarray(latents.mean, dtype=np.float64)
    variance = mean.var(axis=(0, 2, 3))
    if latents.std is not None:
        variance += np.square(np.asarray(latents.std, dtype=np.float64)).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(latents.manifest.channel_mean, mean.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(latents.manifest.channel_std, np.sqrt(variance), rtol=1e-12)


def test_batches_are_sampled_from_the_posterior(encoded_digits):
    latents = encoded_digits.latents
    indices = torch.arange(latents.count)
    offset, scale = latents.whitening()
    mean, _ = latents.batch(indices)
    assert torch.equal(mean, (torch.from_numpy(np.asarray(latents.mean, dtype=np.float32)) - offset) / scale)
    samples = [latents.batch(indices, torch.Generator().manual_seed(seed))[0] for seed in range(200)]
    assert torch.equal(samples[3], latents.batch(indices, torch.Generator().manual_seed(3))[0])
    if latents.std is None:
        assert torch.equal(samples[0], mean)
        return
    spread = torch.stack(samples).std(0) * scale
    ratio = spread / torch.from_numpy(np.asarray(latents.std, dtype=np.float32))
    assert ratio.mean() == pytest.approx(1, abs=0.01) and ratio.min() > 0.7 and ratio.max() < 1.3
    whitened = torch.stack(samples).transpose(1, 2).flatten(2)  # by the statistics of the mixture
    assert torch.allclose(whitened.mean((0, 2)), torch.zeros(4), atol=0.02)
    assert torch.allclose(whitened.std((0, 2)), torch.ones(4), atol=0.02)


def test_decoding_undoes_whitening_and_scaling(encoded_digits):
    latents = encoded_digits.latents
    x, _ = latents.batch(torch.arange(70))  # more than are decoded at once
    autoencoder = make_autoencoder(encoded_digits.class_name).eval()
    with torch.no_grad():
        raw = torch.from_numpy(np.asarray(latents.mean[:70], dtype=np.float32))
        expected = ((autoencoder.decode(raw / SCALING + SHIFT).sample + 1) * 127.5).round().clamp(0, 255)
    for images in (latents.decode(x), latents.decode(x, autoencoder)):
        assert (images.dtype, images.shape) == (torch.uint8, (70, 16, 16, 3))
        assert (images.permute(0, 3, 1, 2) - expected).abs().max() <= 1


def test_the_autoencoder_of_the_manifest_is_loaded_once_and_verified(encoded_digits, tmp_path):
    latents = encoded_digits.latents
    assert latents.load_autoencoder() is latents.load_autoencoder()
    folder = shutil.copytree(latents.folder, tmp_path / "other")
    autoencoder = json.loads((folder / "manifest.json").read_text())["autoencoder"]
    rewrite_json(folder / "manifest.json", autoencoder=autoencoder | {"hash": "0" * 64})
    message = r"the hash of its weights is [0-9a-f]{12}, but .* was encoded with weights 0{12}"
    with pytest.raises(UserError, match=message):
        Latents(folder).load_autoencoder()


def test_pixels_have_no_autoencoder(tiny_latents):
    assert Latents(tiny_latents).load_autoencoder() is None


def test_latents_of_a_grayscale_autoencoder_decode_to_three_channels(tmp_path):
    data = DIGITS.model_copy(update={"autoencoder": save_autoencoder(tmp_path / "vae", channels=1)})
    encode(some_digits(20), data, tmp_path / "out")
    latents = Latents(tmp_path / "out")
    assert latents.decode(latents.batch(torch.arange(2))[0]).shape == (2, 8, 8, 3)


# Mistakes


def overwrite(path, position, new):
    content = path.read_bytes()
    path.write_bytes(content[:position] + new + content[position + len(new) :])


def change_manifest(folder, **changes):
    rewrite_json(folder / "manifest.json", **changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, r"copy: no such folder; expected a folder that `mpdit encode` has finished"),
        (lambda folder: (folder / "manifest.json").unlink(), r"copy: no manifest\.json; expected"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json: not valid JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), r"manifest\.json: .* that `mpdit encode` wrote"),
        (lambda folder: change_manifest(folder, version=2), r"manifest\.json: version is 2, expected 1; encode again"),
        (
            lambda folder: change_manifest(folder, shape=[8, 8]),
            r"manifest\.json: shape is \(8, 8\), expected \(C, H, W",
        ),
        (lambda folder: change_manifest(folder, channel_std=...), r"manifest\.json: missing field 'channel_std'"),
        (lambda folder: change_manifest(folder, count=65), r"mean\.npy: holds uint8 \(64, 1, 8, 8\), but .* \(65, 1,"),
        (lambda folder: change_manifest(folder, dtype="float16"), r"mean\.npy: holds uint8 .*, but .* float16"),
        (lambda folder: change_manifest(folder, dtype="wool"), r"mean\.npy: holds uint8 .*, but .* wool"),
        (
            lambda folder: change_manifest(folder, channel_mean=[0.1, 0.1]),
            r"channel_mean: expected a finite number for each of 1 channels",
        ),
        (
            lambda folder: change_manifest(folder, channel_std=[0.0]),
            r"channel_std: expected a finite number above 0 for each",
        ),
        (lambda folder: change_manifest(folder, classes=["0"]), r"labels\.npy: labels are 0 to 9; expected 0 to 0;"),
        (lambda folder: overwrite(folder / "mean.npy", 15, b"["), r"mean\.npy: .*; expected the array that"),
        (lambda folder: change_manifest(folder, posterior=True), r"std\.npy: no such file; expected"),
        (lambda folder: (folder / "labels.npy").write_bytes(b"x" * 99), r"labels\.npy: .*; expected the array"),
        (lambda folder: (folder / "labels.npy").write_bytes(b""), r"labels\.npy: .*; expected the array"),
        (lambda folder: os.truncate(folder / "mean.npy", 2000), r"mean\.npy: .*; expected the array"),
    ],
)
def test_a_damaged_folder_is_one_line(latents_copy, damage, message):
    damage(latents_copy)
    with pytest.raises(UserError, match=message) as error:
        assert len(Latents(latents_copy).labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mean.npy", "labels.npy"])
def test_a_flipped_bit_of_an_array_is_one_line_when_the_array_is_first_used(tiny_latents, tmp_path, name):
    folder = shutil.copytree(tiny_latents, tmp_path / "latents" / "digits-1")
    flip_bit(folder / name)
    latents = Latents(folder)
    assert latents.whitening()  # sampling uses no array
    message = f"{name}: damaged: its content is not what was written; delete results/latents/digits-1 and run"
    with pytest.raises(UserError, match=re.escape(message)):
        latents.batch(torch.arange(4))


def test_a_changed_statistic_is_one_line(tiny_latents, tmp_path):
    folder = shutil.copytree(tiny_latents, tmp_path / "latents" / "digits-1")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["channel_mean"][0] += 0.1
    path.write_text(json.dumps(manifest))
    message = "manifest.json: damaged: its content is not what was written; delete results/latents/digits-1 and run"
    with pytest.raises(UserError, match=re.escape(message)):
        Latents(folder)


def test_latents_without_seals_are_read_with_a_note(tiny_latents, tmp_path):
    folder = shutil.copytree(tiny_latents, tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k not in ("seal", "seals")}))
    unsealed_note()
    Latents(folder).batch(torch.arange(4))
    assert "manifest.json and 2 other files" in unsealed_note()
