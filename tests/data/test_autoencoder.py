"""Autoencoders of diffusers: scaling, identity by weights, and what cannot be loaded or encoded."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from helpers.autoencoders import SCALING, SHIFT, make_autoencoder, save_autoencoder
from helpers.digits import DIGITS, some_digits
from helpers.picture_zips import zip_data
from safetensors.torch import load_file, save_file

from mpdit.data.autoencoder import describe_autoencoder, load_autoencoder
from mpdit.data.encode import encode
from mpdit.data.latents import Latents
from mpdit.data.listing import PictureListing
from mpdit.data.sources import open_source
from mpdit.system.errors import UserError


def posterior_of(class_name, crops):
    """Mean and standard deviation (None without a posterior) of unscaled latents, by diffusers alone."""
    with torch.no_grad():
        output = make_autoencoder(class_name).eval().encode(crops.expand(-1, 3, -1, -1) / 127.5 - 1)
    return (
        (output.latent_dist.mean, output.latent_dist.std) if class_name == "AutoencoderKL" else (output.latents, None)
    )


def test_stored_means_and_standard_deviations_are_the_scaled_posterior(encoded_digits):
    latents = encoded_digits.latents
    mean, std = posterior_of(encoded_digits.class_name, encoded_digits.crops)
    assert latents.mean.dtype == np.float16 and latents.shape == (4, 2, 2)
    np.testing.assert_allclose(latents.mean[::2], ((mean - SHIFT) * SCALING).numpy(), rtol=2e-3, atol=1e-3)
    if std is not None:
        np.testing.assert_allclose(latents.std[::2], (std * SCALING).numpy(), rtol=2e-3)
    else:
        assert latents.std is None and not (latents.folder / "std.npy").exists()


def test_flips_mirror_pictures_not_latents(encoded_digits):
    mean, _ = posterior_of(encoded_digits.class_name, encoded_digits.crops.flip(3))
    stored = encoded_digits.latents.mean[1::2]
    np.testing.assert_allclose(stored, ((mean - SHIFT) * SCALING).numpy(), rtol=2e-3, atol=1e-3)


def test_the_manifest_describes_the_autoencoder(encoded_digits):
    stored = encoded_digits.latents.manifest.autoencoder
    assert (stored.class_name, stored.scaling_factor, stored.shift_factor) == (
        encoded_digits.class_name, SCALING, SHIFT,
    )  # fmt: skip


def test_the_hash_is_of_the_weights_not_of_the_files(tmp_path):
    """Published SD-VAE weights call the attention's layers by their older names, and may come in parts."""
    original = make_autoencoder()
    original.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    original.save_pretrained(tmp_path / "old")
    weights = load_file(tmp_path / "old/diffusion_pytorch_model.safetensors")
    older_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, old in older_names.items():
        weights = {key.replace(f".{new}.", f".{old}."): tensor for key, tensor in weights.items()}
    assert any("proj_attn" in key for key in weights)
    save_file(weights, tmp_path / "old/diffusion_pytorch_model.safetensors")
    loaded = [load_autoencoder(str(tmp_path / name)) for name in ("old", "parts")]
    hashes = {describe_autoencoder("x", autoencoder).hash for autoencoder in (original, *loaded)}
    assert len(hashes) == 1
    original.decoder.conv_out.bias.data += 1e-3
    assert describe_autoencoder("x", original).hash not in hashes


def test_real_pictures_some_in_grayscale_are_encoded(shared_data, tmp_path):
    autoencoder = save_autoencoder(tmp_path / "vae")
    data = zip_data(shared_data / "imagenet-1000.zip", autoencoder=autoencoder, resolution=32)
    source = open_source(data)
    indices = range(0, len(source), 40)
    names = [source.names[index] for index in indices]
    listing = PictureListing(sorted({name.split("/")[0] for name in names}), names, np.arange(len(names)), {})
    few = replace(source, listing=listing, read=lambda index: source.read(indices[index]))
    encode(few, data, tmp_path / "out")
    latents = Latents(tmp_path / "out")
    assert (latents.count, latents.shape, latents.num_classes) == (25, (4, 4, 4), 25)
    assert np.isfinite(latents.mean).all() and (np.asarray(latents.std) > 0).all()


# Mistakes


def save_without_weights(folder):
    save_autoencoder(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()


def save_with_other_config(**changes):
    def make(folder):
        save_autoencoder(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return make


def save_unet(folder):
    UNet2DModel(block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
                norm_num_groups=4).save_pretrained(folder)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"^autoencoder: .*vae: no such folder; expected a local folder or the id of a hub"),
        (lambda folder: folder.mkdir(), r"vae/config\.json: no such file"),
        (save_unet, r"config\.json: _class_name is 'UNet2DModel'; expected one of AutoencoderKL, AutoencoderTiny"),
        (
            save_without_weights,
            r"^autoencoder: .*vae: weights cannot be loaded \(.*\); expected those of AutoencoderKL",
        ),
        (save_with_other_config(latent_channels=8), r"^autoencoder: .*vae: weights cannot be loaded \(.*size mismatch"),
        (save_with_other_config(layers_per_block=2), r"^autoencoder: .*vae: weights cannot be loaded \(.*resnets"),
    ],
)
def test_what_is_not_an_autoencoder_is_one_line(tmp_path, make, message):
    make(tmp_path / "vae")
    with pytest.raises(UserError, match=message) as error:
        load_autoencoder(str(tmp_path / "vae"))
    assert "\n" not in str(error.value)


def test_a_hub_id_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"^autoencoder: some/vae: not in the local cache, .*\(offline\?\); expected a"):
        load_autoencoder("some/vae")


@pytest.mark.parametrize(
    ("config", "resolution", "message"),
    [
        ({}, 12, "data.resolution: 12: expected a multiple of 8 for"),
        ({"scaling_factor": 1e9}, 8, r"data.autoencoder: .*: latents of 0/0000 overflow float16"),
    ],
)
def test_what_an_autoencoder_cannot_encode_is_one_line(tmp_path, config, resolution, message):
    autoencoder = save_autoencoder(tmp_path / "vae", **config)
    data = DIGITS.model_copy(update={"autoencoder": autoencoder, "resolution": resolution})
    with pytest.raises(UserError, match=message):
        encode(some_digits(20), data, tmp_path / "out")
    assert {path.name for path in tmp_path.glob("out/*")} <= {".lock"}


def test_a_grayscale_autoencoder_does_not_accept_colors(tmp_path):
    data = DIGITS.model_copy(update={"autoencoder": save_autoencoder(tmp_path / "vae", channels=1)})
    with pytest.raises(UserError, match=r"data\.autoencoder: .*: takes 1 channels, but the images have 3"):
        encode(replace(some_digits(20), channels=3), data, tmp_path / "out")
