"""Operations and bytes against sums by hand and against real files."""

import json

import numpy as np
import pytest
from helpers.tiny_runs import make_spec, train_in, write_latents
from helpers.workloads import shipped_size

from mpdit.evaluation.sample_archive import sample_writer
from mpdit.experiment.run_spec import Protocol
from mpdit.experiment.schema import Heldout, Tracing, Training
from mpdit.planning import sizes
from mpdit.planning.sizes import ModelSize

SIZE = ModelSize(matrices=1000, vectors=10, flops=7)


def test_flops_of_a_forward_pass_by_hand():
    tokens, width, classes = 64, 384, 1000
    attention = 2 * tokens * width * 3 * width + 4 * tokens**2 * width + 2 * tokens * width * width
    mlp = 2 * 2 * tokens * width * 4 * width
    modulation = 2 * width * 2 * 3 * width  # scale, shift and gate of two branches
    block = attention + mlp + modulation
    embeddings = 2 * tokens * (2 * 2 * 4 + 1) * width + 2 * 256 * width + 2 * width * width
    final = 2 * width * 2 * width + 2 * tokens * width * 2 * 2 * 8
    size = shipped_size("DiT-S/2", "E", "scale_shift", (4, 16, 16), classes)
    assert size.flops == 12 * block + embeddings + final


def test_parameters_by_hand():
    width = 384
    block = (4 + 8 + 6) * width**2
    outside = (17 + 256 + 2 * 16) * width + width**2 + 1001 * width + 2 * width**2
    size = shipped_size("DiT-S/2", "A", "scale_shift", (4, 16, 16), 1000)
    assert (size.matrices, size.vectors) == (12 * block + outside, 0)
    assert shipped_size("DiT-S/2", "E", "scale_shift", (4, 16, 16), 1000).vectors == 12 * 6 + 4  # gains of heads


def test_flops_of_jobs_by_hand():
    assert sizes.training_flops(SIZE, Training(batch_size=8), 100) == 3 * 7 * 8 * 100
    protocol = Protocol("ddpm", 50, guidance=1.0, count=20, ema_width=0.05, step=100, sampling_seed=0)
    assert sizes.sampling_flops(SIZE, protocol) == 7 * 50 * 20
    guided = Protocol("ddpm", 50, guidance=1.5, count=20, ema_width=0.05, step=100, sampling_seed=0)
    assert sizes.sampling_flops(SIZE, guided) == 2 * 7 * 50 * 20
    tracing = Tracing(images=16, timesteps=(1, 2), snapshots=4)
    assert sizes.tracing_flops(SIZE, tracing, Training(snapshots=3)) == 7 * 16 * 2 * (1 + 3)
    # Two earlier snapshots on half the images and as many trained on; the last on all images and half as many, 4 times
    heldout, training = Heldout(draws=32, snapshots=4), Training(snapshots=3)
    assert sizes.heldout_flops(SIZE, 10, heldout, training, widths=4) == 7 * 32 * (2 * 10 + 4 * 15)


def test_bytes_by_hand():
    training = Training(steps=100, snapshots=4, ema_widths=(0.05, 0.1), snapshot_dtype="float16")
    assert sizes.snapshots_bytes(SIZE, training) == (4 * 2 + 1) * (2 * 1000 + 4 * 10) + 4 * 1010
    assert sizes.checkpoints_bytes(SIZE, training) == 2 * 4 * 1010 * 5
    assert sizes.samples_bytes(10_000, 128) == 10_000 * (3 * 128 * 128 + 8)
    assert sizes.latents_bytes(10, (1, 8, 8), pixels=True, posterior=False) == 10 * (64 + 8)
    assert sizes.latents_bytes(1_281_167, (4, 16, 16), pixels=False, posterior=True) == pytest.approx(5.26e9, 1e-3)


def test_bytes_of_a_run_are_those_of_its_files(tmp_path):
    latents = write_latents(tmp_path / "latents", shape=(2, 4, 4))
    spec = make_spec(snapshot_dtype="float16")
    assert train_in(tmp_path / "run", spec, latents) == 0
    size = shipped_size("DiT-Nano/2", "E", "scale_shift", (2, 4, 4), 3)
    training = spec.training
    kept = [*(tmp_path / "run/snapshots").iterdir(), tmp_path / "run/model.safetensors"]
    assert sum(path.stat().st_size for path in kept) == pytest.approx(sizes.snapshots_bytes(size, training), rel=0.02)
    checkpoints = sum(path.stat().st_size for path in (tmp_path / "run/checkpoints").iterdir())
    assert checkpoints == pytest.approx(sizes.checkpoints_bytes(size, training), rel=0.03)


def test_bytes_of_latents_and_samples_are_those_of_their_files(tmp_path, tiny_latents):
    arrays = sum(path.stat().st_size for path in tiny_latents.glob("*.npy"))
    assert arrays - 2 * 128 == sizes.latents_bytes(64, (1, 8, 8), pixels=True, posterior=False)
    with sample_writer(tmp_path / "samples.npz", np.zeros(100, dtype=np.int64)) as append:
        append(np.zeros((100, 16, 16, 3), dtype=np.uint8))
    assert (tmp_path / "samples.npz").stat().st_size == pytest.approx(sizes.samples_bytes(100, 16), rel=0.02)


def test_an_autoencoder_is_known_by_its_config(tmp_path):
    config = {**sizes.SD_VAE, "block_out_channels": [32, 32, 32], "latent_channels": 8}
    config |= {key: config[key][:3] for key in ("down_block_types", "up_block_types")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    size, is_known = sizes.autoencoder_size(str(tmp_path), 64)
    assert is_known
    assert (size.shape, size.posterior) == ((8, 16, 16), True)
    large, _ = sizes.autoencoder_size(str(tmp_path), 128)
    assert 4 * size.encoding <= large.encoding < 4.5 * size.encoding  # its attention grows faster than its convolutions
    assert 4 * size.decoding <= large.decoding < 4.5 * size.decoding


@pytest.mark.parametrize("text", [None, "[]", '{"_class_name": "UNet2DModel"}'])
def test_an_autoencoder_that_is_not_known_is_assumed_to_be_an_sd_vae(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    size, is_known = sizes.autoencoder_size(str(tmp_path) if text else str(tmp_path / "nowhere"), 128)
    assert not is_known
    assert (size.shape, size.posterior) == ((4, 16, 16), True)
