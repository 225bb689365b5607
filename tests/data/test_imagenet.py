"""Real ImageNet pictures through autoencoders of the SD-VAE's geometry: 4 latent channels at an eighth of the size."""

import io
import zipfile

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from helpers.packings import WRITERS, data_of, write_zip
from PIL import Image

from mpdit.data.autoencoder import load_autoencoder
from mpdit.data.encode import encode
from mpdit.data.latents import Latents
from mpdit.data.shards import encode_in_shards
from mpdit.data.sources import open_source

SCALING = 0.18215


def save_sd_vae(folder, widths, layers_per_block, norm_num_groups):
    """The SD-VAE's architecture with random weights; its own widths are (128, 256, 512, 512), 2 layers per block."""
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=layers_per_block,
        norm_num_groups=norm_num_groups,
        latent_channels=4,
        scaling_factor=SCALING,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def narrow_vae(tmp_path_factory):
    return save_sd_vae(tmp_path_factory.mktemp("narrow") / "vae", (8, 8, 16, 16), 1, 4)


@pytest.fixture(scope="module")
def files(shared_data):
    """Name -> bytes of 1,000 pictures, one per class."""
    with zipfile.ZipFile(shared_data / "imagenet-1000.zip") as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")}


def grayscale_indices(files):
    """The indices of the pictures that are stored with one channel."""
    return [index for index, content in enumerate(files.values()) if Image.open(io.BytesIO(content)).mode == "L"]


def assert_same_latents(one, other):
    assert one.fingerprint == other.fingerprint
    for key in ("shape", "count", "classes", "skipped", "channel_mean", "channel_std", "autoencoder"):
        assert getattr(one.manifest, key) == getattr(other.manifest, key)
    for array in ("mean", "std", "labels"):
        assert np.array_equal(getattr(one, array), getattr(other, array))


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_latents_are_the_same_from_all_packings(files, narrow_vae, tmp_path, every):
    """All 1,000 pictures at 64 pixels; without slow tests, every 40th at 128."""
    chosen = dict(list(files.items())[::every])
    resolution = 64 if every == 1 else 128
    by_packing = {}
    for packing, write in WRITERS.items():
        data = data_of(packing, write(tmp_path / packing, chosen), resolution=resolution, autoencoder=narrow_vae)
        encode(open_source(data), data, tmp_path / "latents" / packing, device="cpu")
        by_packing[packing] = Latents(tmp_path / "latents" / packing)
    for latents in by_packing.values():
        assert_same_latents(latents, by_packing["zip"])
    latents = by_packing["zip"]
    assert latents.shape == (4, resolution // 8, resolution // 8)
    assert latents.labels.tolist() == list(range(1000 // every))
    if every == 1:
        assert len(grayscale_indices(files)) == 23  # so all packings agree on those too
        data = data_of("zip", tmp_path / "zip", resolution=resolution, autoencoder=narrow_vae)
        encode_in_shards(open_source(data), data, tmp_path / "latents/shards", 3, device="cpu", workers=2)
        assert_same_latents(Latents(tmp_path / "latents/shards"), latents)
    assert_statistics_are_exact(latents)


def assert_statistics_are_exact(latents):
    """Channel statistics are those of the mixture, not of the means, as one float64 computation over all latents."""
    mean, std = (np.asarray(array, dtype=np.float64) for array in (latents.mean, latents.std))
    variance = mean.var(axis=(0, 2, 3)) + np.square(std).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(latents.manifest.channel_mean, mean.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(latents.manifest.channel_std, np.sqrt(variance), rtol=1e-6)


def posteriors_by_diffusers(autoencoder, source, resolution):
    """Mean and standard deviation of the scaled latents, picture by picture, as a user of diffusers computes them."""
    for index in range(len(source)):
        crop = torch.from_numpy(source.picture(index, resolution).crop.copy())  # (R, R, 3)
        with torch.no_grad():
            posterior = autoencoder.encode((crop.permute(2, 0, 1)[None] / 255) * 2 - 1).latent_dist
        yield SCALING * posterior.mean[0], SCALING * posterior.std[0]


@pytest.mark.parametrize(
    ("widths", "layers", "groups", "resolution", "count"),
    [
        ((8, 8, 16, 16), 1, 4, 128, 6),
        pytest.param((128, 256, 512, 512), 2, 32, 64, 3, marks=pytest.mark.slow),  # the SD-VAE, 84 million parameters
    ],
)
def test_latents_agree_with_diffusers(files, tmp_path, widths, layers, groups, resolution, count):
    """Scaled as config.json says; a grayscale picture, among them, is encoded as three equal channels."""
    path = save_sd_vae(tmp_path / "vae", widths, layers, groups)
    if layers == 2:
        autoencoder = load_autoencoder(path)
        assert sum(parameter.numel() for parameter in autoencoder.parameters()) == 83_653_863
    names = list(files)
    indices = (*grayscale_indices(files)[:1], *range(0, 1000, 1000 // (count - 1)))[:count]
    chosen = {names[index]: files[names[index]] for index in indices}
    data = data_of("zip", write_zip(tmp_path / "zip", chosen), resolution=resolution, autoencoder=path)
    source = open_source(data)
    encode(source, data, tmp_path / "latents", device="cpu")
    latents = Latents(tmp_path / "latents")
    assert latents.shape == (4, resolution // 8, resolution // 8)
    assert latents.manifest.autoencoder.scaling_factor == SCALING
    for index, (mean, std) in enumerate(posteriors_by_diffusers(load_autoencoder(path), source, resolution)):
        np.testing.assert_allclose(latents.mean[index], mean, rtol=2e-3, atol=2e-5)  # float16, and another batch size
        np.testing.assert_allclose(latents.std[index], std, rtol=2e-3, atol=2e-5)
