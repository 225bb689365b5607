"""`mpdit sample`: a run folder and latents in, images, grid and protocol out."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.made_up_runs import outcome
from helpers.tiny_runs import make_spec
from PIL import Image

from mpdit.__main__ import main
from mpdit.experiment.records import Manifest, SourceRecord
from mpdit.experiment.run_spec import DataIdentity
from mpdit.model.dit import create_model
from mpdit.system import seeds
from mpdit.system.files import read_json, write_json
from mpdit.training import snapshots

TRAINED_STEP = 40
RUN = replace(make_spec(lr=0.02), data=DataIdentity("noise", 8, None, "none"))
TRAINED = outcome(RUN.name) | {"step": TRAINED_STEP, "latents": "f" * 64}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with latents of 12 pixel images (8x8, 3 classes) and a run of DiT-Nano/2 that has snapshots.

    It has learned nothing, so its samples have a standard deviation of about 100: the manifest scales them down.
    """
    folder = tmp_path_factory.mktemp("study")
    store = folder / "latents"
    store.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    np.save(store / "mean.npy", pixels)
    np.save(store / "labels.npy", np.arange(12) % 3)
    manifest = Manifest(
        version=1, name="noise", source=SourceRecord("folder", "noise", "0" * 64, "sorted"), count=12, skipped=(),
        shape=(1, 8, 8), classes=("0", "1", "2"), resolution=8, filter="bicubic", crop="center", flips="none",
        autoencoder=None, posterior=False, dtype="uint8", channel_mean=(0.0,), channel_std=(0.005,),
        fingerprint="f" * 64,
    )  # fmt: skip
    write_json(store / "manifest.json", manifest.to_json())
    model = create_model("DiT-Nano/2", "E", input_size=8, in_channels=1, num_classes=3, seed=0)
    with torch.no_grad():  # gains start at 0: a fresh model predicts no noise at all
        for name, parameter in model.named_parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=seeds.generator(name)))
    for step in range(1, TRAINED_STEP + 1):
        if step % 2 == 0:
            for width in (0.05, 0.1):
                snapshots.save_snapshot(folder / "run" / "snapshots", step, width, dict(model.named_parameters()))
    snapshots.save_snapshot(folder / "run" / "snapshots", TRAINED_STEP, None, dict(model.named_parameters()), "float32")
    write_json(folder / "run" / "spec.json", RUN.to_json())
    write_json(folder / "run" / "trained.json", TRAINED)
    return SimpleNamespace(folder=folder, run=folder / "run", latents=store)


def run_sample(study, output, *options, run=None):
    small = [] if "--count" in options else ["--count", "7"]
    small += [] if "--steps" in options else ["--steps", "3"]
    arguments = [run or study.run, "--latents", study.latents, "--output", output, "--device", "cpu", *small, *options]
    return main(["sample", *map(str, arguments)])


def read(output):
    with np.load(output / "samples.npz", allow_pickle=False) as arrays:
        return arrays["arr_0"], arrays["labels"]


def read_picture(output):
    with Image.open(output / "grid.png") as picture:
        return np.asarray(picture)


def test_images_grid_and_protocol_are_written(study, tmp_path, capsys):
    assert run_sample(study, tmp_path, "--sampler", "ddim", "--guidance", "1.5", "--seed", "2") == 0
    images, labels = read(tmp_path)
    assert images.dtype == np.uint8 and images.shape == (7, 8, 8, 3)
    assert (images[..., 0] == images[..., 1]).all() and images.std() > 1
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    protocol = read_json(tmp_path / "protocol.json")
    del protocol["commit"]
    assert protocol == {
        "run": RUN.name, "model": "DiT-Nano/2", "config": "E", "modulation": "scale_shift", "lr": 0.02, "seed": 0,
        "data": "noise", "sampler": "ddim", "steps": 3, "guidance": 1.5, "count": 7, "ema_width": 0.05,
        "step": TRAINED_STEP, "sampling_seed": 2, "precision": "float32", "status": "trained", "ema_residual": 0.0,
    }  # fmt: skip
    picture = read_picture(tmp_path)
    assert picture.shape == (3 * 66 + 2, 3 * 66 + 2, 3)
    assert (picture[2 + 66 : 2 + 66 + 64, 2 + 132 : 2 + 132 + 64] == images[5].repeat(8, 0).repeat(8, 1)).all()
    assert (picture[2 + 132 :, 2 + 66 :] == 255).all()  # the last row holds one image
    assert f"{RUN.name}: ddim 3: 7 images in" in capsys.readouterr().out


def test_files_are_reproducible_to_the_byte_and_batch_size_changes_only_rounding(study, tmp_path):
    run_sample(study, tmp_path / "a")
    run_sample(study, tmp_path / "b")
    for name in ("samples.npz", "grid.png", "protocol.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    run_sample(study, tmp_path / "c", "--batch-size", "2")
    difference = read(tmp_path / "a")[0].astype(int) - read(tmp_path / "c")[0]
    assert abs(difference).max() <= 1  # the real model's matrix products round differently by batch
    run_sample(study, tmp_path / "d", "--seed", "1")
    assert (read(tmp_path / "a")[0] != read(tmp_path / "d")[0]).mean() > 0.5


def test_any_ema_width_and_plain_weights_can_be_sampled(study, tmp_path):
    run_sample(study, tmp_path / "rebuilt", "--ema-width", "0.07")
    residual = json.loads((tmp_path / "rebuilt" / "protocol.json").read_text())["ema_residual"]
    assert 0 < residual < 0.05
    run_sample(study, tmp_path / "plain", "--ema-width", "none")
    assert json.loads((tmp_path / "plain" / "protocol.json").read_text())["ema_width"] is None
    # All snapshots hold the same weights here, in float16; the plain ones are in float32.
    difference = read(tmp_path / "rebuilt")[0].astype(int) - read(tmp_path / "plain")[0]
    assert abs(difference).mean() < 1


def test_an_earlier_snapshot_can_be_sampled(study, tmp_path):
    run_sample(study, tmp_path, "--step", "30")
    assert json.loads((tmp_path / "protocol.json").read_text())["step"] == 30


def test_a_diverged_run_gives_no_images_and_a_picture_that_says_so(study, tmp_path):
    run = tmp_path / "run"
    write_json(run / "spec.json", json.loads((study.run / "spec.json").read_text()))
    write_json(run / "trained.json", TRAINED | {"status": "diverged", "step": 17})
    assert run_sample(study, tmp_path, "--step", str(TRAINED_STEP), run=run) == 0
    images, labels = read(tmp_path)
    assert images.shape == (0, 8, 8, 3) and images.dtype == np.uint8
    assert labels.shape == (0,) and labels.dtype == np.int64
    protocol = json.loads((tmp_path / "protocol.json").read_text())
    assert protocol["status"] == "diverged" and protocol["step"] == 17
    picture = read_picture(tmp_path)
    assert picture.shape[1] < 300 and (picture < 128).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "euler"], "sampler: 'euler': must be one of ddpm, ddim, dpm_solver"),
        (["--steps", "1001"], "steps: 1001: must be 1 to 1000"),
        (["--count", "0"], "count: 0: must be 1 or more"),
        (["--batch-size", "0"], "--batch-size: 0: must be at least 1"),
        (["--precision", "float16"], "--precision: 'float16': must be one of float32, bfloat16"),
        (["--ema-width", "wide"], "--ema-width: 'wide': must be a relative width such as 0.05, or none"),
        (["--ema-width", "0.5"], "EMA width: 0.5: must be above 0 and at most 0.2887"),
        (["--step", "41"], "--step: 41: must be 1 to 40, the last step of"),
        (["--step", "39"], "no EMA snapshot at step 39: must be one of 2, 4, 6"),
        (["--step", "38", "--ema-width", "none"], "no plain weights at step 38: must be one of 40"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(study, tmp_path, capsys, options, message):
    assert run_sample(study, tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_other_latents_foreign_snapshots_and_unfinished_runs_are_refused(study, tmp_path, capsys):
    run = tmp_path / "run"
    write_json(run / "spec.json", json.loads((study.run / "spec.json").read_text()))
    assert run_sample(study, tmp_path / "out", run=run) == 2
    assert "no trained.json: must be a run folder that `mpdit train` has finished" in capsys.readouterr().err
    write_json(run / "trained.json", TRAINED | {"latents": "0" * 64})
    assert run_sample(study, tmp_path / "out", run=run) == 2
    assert "latents ffffffffffff: must be those that" in capsys.readouterr().err
    trained = json.loads((study.run / "trained.json").read_text())
    write_json(run / "trained.json", trained)
    snapshots.save_snapshot(run / "snapshots", 40, 0.05, {"foreign": torch.zeros(2, 2)})
    assert run_sample(study, tmp_path / "out", run=run) == 2
    assert "run/snapshots: missing parameter " in capsys.readouterr().err


def test_the_grid_has_at_most_ten_rows(study, tmp_path):
    run_sample(study, tmp_path, "--count", "36", "--steps", "1")
    assert read_picture(tmp_path).shape == (10 * 66 + 2, 3 * 66 + 2, 3)
