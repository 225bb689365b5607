"""The latent store as others read it, and the autoencoders behind it."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from helpers.autoencoders import SCALING, SHIFT, build, saved
from helpers.digits import DIGITS, some_digits
from safetensors.torch import load_file, save_file

from mpdit.commands.encode import encode
from mpdit.data.latents import Latents, describe_autoencoder, load_autoencoder, to_raw
from mpdit.data.pictures import open_source
from mpdit.system.errors import UserError


@pytest.fixture(scope="module", params=["AutoencoderKL", "AutoencoderTiny"])
def encoded(request, tmp_path_factory):
    """Class of an autoencoder, the latents of 40 digits at 16x16 and their mirror images, and the crops themselves."""
    root = tmp_path_factory.mktemp(request.param)
    data = DIGITS | {"resolution": 16, "autoencoder": saved(root / "vae", request.param), "flips": "both"}
    digits = some_digits(40)
    encode(digits, data, root / "latents", device="cpu")
    crops = np.stack([digits.picture(index, 16).crop for index in range(40)])
    return request.param, Latents(root / "latents"), torch.from_numpy(crops).permute(0, 3, 1, 2)


@pytest.fixture
def copy(tiny_latents, tmp_path):
    """A copy of the tiny store, to be damaged."""
    return shutil.copytree(tiny_latents, tmp_path / "copy")


# Pixels


def test_nothing_is_read_before_it_is_asked_for(tiny_latents):
    latents = Latents(tiny_latents)
    assert isinstance(latents.mean, np.memmap) and isinstance(latents.labels, np.memmap)
    assert (latents.shape, latents.count, latents.num_classes, latents.std) == ((1, 8, 8), 64, 10, None)
    assert len(np.unique(latents.labels)) == 10


def test_whitened_pixels_have_mean_zero_and_deviation_one(tiny_latents):
    x, labels = Latents(tiny_latents).batch(torch.arange(64))
    assert (x.dtype, x.shape, labels.dtype) == (torch.float32, (64, 1, 8, 8), torch.int64)
    assert abs(x.double().mean()) < 1e-6
    assert x.double().std(correction=0) == pytest.approx(1, abs=1e-6)


def test_a_batch_is_in_the_order_of_its_indices(tiny_latents):
    latents = Latents(tiny_latents)
    indices = torch.tensor([63, 0, 5, 5])
    x, labels = latents.batch(indices, torch.Generator())
    everything, all_labels = latents.batch(torch.arange(64))
    assert torch.equal(x, everything[indices])
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


# Autoencoders


def test_means_and_deviations_are_the_scaled_posterior(encoded):
    kind, latents, crops = encoded
    autoencoder = build(kind).eval()
    with torch.no_grad():
        output = autoencoder.encode(crops.expand(-1, 3, -1, -1) / 127.5 - 1)
    mean = output.latent_dist.mean if kind == "AutoencoderKL" else output.latents
    assert latents.mean.dtype == np.float16 and latents.shape == (4, 2, 2)
    np.testing.assert_allclose(latents.mean[::2], ((mean - SHIFT) * SCALING).numpy(), rtol=2e-3, atol=1e-3)
    if kind == "AutoencoderKL":
        np.testing.assert_allclose(latents.std[::2], (output.latent_dist.std * SCALING).numpy(), rtol=2e-3)
    else:
        assert latents.std is None and not (latents.folder / "std.npy").exists()


def test_flips_mirror_pictures_not_latents(encoded):
    kind, latents, crops = encoded
    with torch.no_grad():
        output = build(kind).eval().encode(crops.flip(3).expand(-1, 3, -1, -1) / 127.5 - 1)
    mean = output.latent_dist.mean if kind == "AutoencoderKL" else output.latents
    np.testing.assert_allclose(latents.mean[1::2], ((mean - SHIFT) * SCALING).numpy(), rtol=2e-3, atol=1e-3)


def test_statistics_are_those_of_the_stored_mixture(encoded):
    _, latents, _ = encoded
    mean = np.asarray(latents.mean, dtype=np.float64)
    variance = mean.var(axis=(0, 2, 3))
    if latents.std is not None:
        variance += np.square(np.asarray(latents.std, dtype=np.float64)).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(latents.manifest["channel_mean"], mean.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(latents.manifest["channel_std"], np.sqrt(variance), rtol=1e-12)


def test_batches_draw_from_the_posterior(encoded):
    _, latents, _ = encoded
    indices = torch.arange(latents.count)
    offset, scale = latents.whitening()
    mean, _ = latents.batch(indices)
    assert torch.equal(mean, (torch.from_numpy(np.asarray(latents.mean, dtype=np.float32)) - offset) / scale)
    draws = [latents.batch(indices, torch.Generator().manual_seed(seed))[0] for seed in range(200)]
    assert torch.equal(draws[3], latents.batch(indices, torch.Generator().manual_seed(3))[0])
    spread = torch.stack(draws).std(0) * scale
    if latents.std is None:
        assert torch.equal(draws[0], mean)
    else:
        ratio = spread / torch.from_numpy(np.asarray(latents.std, dtype=np.float32))
        assert ratio.mean() == pytest.approx(1, abs=0.01) and ratio.min() > 0.7 and ratio.max() < 1.3
        drawn = torch.stack(draws).transpose(1, 2).flatten(2)  # whitened by the statistics of the mixture
        assert torch.allclose(drawn.mean((0, 2)), torch.zeros(4), atol=0.02)
        assert torch.allclose(drawn.std((0, 2)), torch.ones(4), atol=0.02)


def test_decoding_undoes_whitening_and_scaling(encoded):
    kind, latents, _ = encoded
    x, _ = latents.batch(torch.arange(70))  # more than are decoded at once
    autoencoder = build(kind).eval()
    with torch.no_grad():
        raw = torch.from_numpy(np.asarray(latents.mean[:70], dtype=np.float32))
        expected = ((autoencoder.decode(raw / SCALING + SHIFT).sample + 1) * 127.5).round().clamp(0, 255)
    for images in (latents.decode(x), latents.decode(x, autoencoder)):
        assert (images.dtype, images.shape) == (torch.uint8, (70, 16, 16, 3))
        assert (images.permute(0, 3, 1, 2) - expected).abs().max() <= 1


def test_the_manifest_names_the_autoencoder(encoded, tmp_path):
    kind, latents, _ = encoded
    stored = latents.manifest["autoencoder"]
    assert (stored["class"], stored["scaling_factor"], stored["shift_factor"]) == (kind, SCALING, SHIFT)
    assert latents.load_autoencoder() is latents.load_autoencoder()
    other = latents.manifest | {"autoencoder": stored | {"hash": "0" * 64}}
    folder = shutil.copytree(latents.folder, tmp_path / "other")
    (folder / "manifest.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"weights [0-9a-f]{12}: must be those that .* was encoded with, 0{12}"):
        Latents(folder).load_autoencoder()


def test_the_hash_is_of_the_weights_not_of_the_file(tmp_path):
    """Published SD-VAE weights call the attention's layers by their older names, and may come in parts."""
    plain = build("AutoencoderKL")
    plain.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    plain.save_pretrained(tmp_path / "old")
    weights = load_file(tmp_path / "old/diffusion_pytorch_model.safetensors")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, old in names.items():
        weights = {key.replace(f".{new}.", f".{old}."): tensor for key, tensor in weights.items()}
    assert any("proj_attn" in key for key in weights)
    save_file(weights, tmp_path / "old/diffusion_pytorch_model.safetensors")
    hashes = {
        describe_autoencoder("x", autoencoder)["hash"]
        for autoencoder in (plain, load_autoencoder(str(tmp_path / "old")), load_autoencoder(str(tmp_path / "parts")))
    }
    assert len(hashes) == 1
    plain.decoder.conv_out.bias.data += 1e-3
    assert describe_autoencoder("x", plain)["hash"] not in hashes


def test_pixels_have_no_autoencoder(tiny_latents):
    assert Latents(tiny_latents).load_autoencoder() is None


def test_a_greyscale_autoencoder_takes_digits_as_they_are(tmp_path):
    data = DIGITS | {"autoencoder": saved(tmp_path / "vae", channels=1)}
    encode(some_digits(20), data, tmp_path / "out")
    latents = Latents(tmp_path / "out")
    assert latents.decode(latents.batch(torch.arange(2))[0]).shape == (2, 8, 8, 3)


def test_real_pictures_go_through_an_autoencoder(shared_data, tmp_path):
    """Greyscale ones among them."""
    data = {"source": "zip", "path": str(shared_data / "imagenet-1000.zip"), "autoencoder": saved(tmp_path / "vae")}
    source = open_source(DIGITS | data)
    names = source.names[::40]
    few = type(source)(
        source.kind, source.where, 3, sorted({name.split("/")[0] for name in names}), names,
        np.arange(len(names)), source.read, source.decode,
    )  # fmt: skip
    encode(few, DIGITS | data | {"resolution": 32}, tmp_path / "out")
    latents = Latents(tmp_path / "out")
    assert (latents.count, latents.shape, latents.num_classes) == (25, (4, 4, 4), 25)
    assert np.isfinite(latents.mean).all() and (np.asarray(latents.std) > 0).all()


# Mistakes


def damage(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest = {key: value for key, value in (manifest | changes).items() if value is not None}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, r"copy: no such folder: must be a folder that `mpdit encode` has finished"),
        (lambda folder: (folder / "manifest.json").unlink(), r"copy: no manifest\.json: must be"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json: not valid JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), r"manifest\.json: no .*: must be written by"),
        (lambda folder: damage(folder, version=2), r"manifest\.json: version 2: must be 1; encode again"),
        (lambda folder: damage(folder, channel_std=None), r"manifest\.json: no 'channel_std': must be written by"),
        (lambda folder: damage(folder, count=65), r"mean\.npy: uint8 \(64, 1, 8, 8\): must be uint8 \(65, 1, 8, 8\)"),
        (lambda folder: damage(folder, dtype="float16"), r"mean\.npy: uint8 .*: must be float16"),
        (lambda folder: damage(folder, posterior=True), r"std\.npy: No such file or directory: must be the array"),
        (lambda folder: (folder / "labels.npy").write_bytes(b"x" * 99), r"labels\.npy: .*: must be the array"),
        (lambda folder: (folder / "labels.npy").write_bytes(b""), r"labels\.npy: .*: must be the array"),
        (lambda folder: os.truncate(folder / "mean.npy", 2000), r"mean\.npy: .*: must be the array"),
    ],
)
def test_a_damaged_store_is_one_line(copy, spoil, message):
    spoil(copy)
    with pytest.raises(UserError, match=message) as error:
        Latents(copy)
    assert "\n" not in str(error.value)


def without_weights(folder):
    saved(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()


def other_weights(folder):
    saved(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"latent_channels": 8}))


def missing_weights(folder):
    saved(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layers_per_block": 2}))


def other_class(folder):
    UNet2DModel(block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
                norm_num_groups=4).save_pretrained(folder)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"^autoencoder: .*vae: no such folder: must be a local folder or a hub id"),
        (lambda folder: folder.mkdir(), r"vae/config\.json: no such file"),
        (other_class, r"config\.json: _class_name 'UNet2DModel': must be one of AutoencoderKL, AutoencoderTiny"),
        (without_weights, r"^autoencoder: .*vae: weights don't load \(.*\): must be a AutoencoderKL in diffusion_pyt"),
        (other_weights, r"^autoencoder: .*vae: weights don't load \(.*size mismatch"),
        (missing_weights, r"^autoencoder: .*vae: weights don't load \(.*resnets"),
    ],
)
def test_what_is_no_autoencoder_is_one_line(tmp_path, make, message):
    make(tmp_path / "vae")
    with pytest.raises(UserError, match=message) as error:
        load_autoencoder(str(tmp_path / "vae"))
    assert "\n" not in str(error.value)


def test_a_hub_id_offline_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"^autoencoder: some/vae: not in the local cache, .* offline\?: must be a local"
    ):
        load_autoencoder("some/vae")


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        ({}, {"resolution": 12}, "data.resolution: 12: must be a multiple of 8 for"),
        (
            {"scaling_factor": 1e9},
            {},
            r"data.autoencoder: .*: latents of 0/0000 overflow: must be within float16's 65504",
        ),
    ],
)
def test_what_an_autoencoder_cannot_encode_is_one_line(tmp_path, config, fields, message):
    data = DIGITS | {"autoencoder": saved(tmp_path / "vae", **config)} | fields
    with pytest.raises(UserError, match=message):
        encode(some_digits(20), data, tmp_path / "out")
    assert {path.name for path in tmp_path.glob("out/*")} <= {".lock"}


def test_a_greyscale_autoencoder_does_not_take_colours(tmp_path):
    source = some_digits(20)
    data = DIGITS | {"autoencoder": saved(tmp_path / "vae", channels=1)}
    colours = type(source)("zip", "it.zip", 3, source.classes, source.names, source.labels, source.read, source.decode)
    with pytest.raises(UserError, match=r"data\.autoencoder: .*: takes 1 channels: must take 3"):
        encode(colours, data, tmp_path / "out")
