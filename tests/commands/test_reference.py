"""`mpdit reference`: real images in, statistics and floor out; every mistake is one line."""

import json
import shutil
import tarfile
import zipfile

import numpy as np
import pyarrow.parquet
import pytest
from helpers.command_line import build_reference
from PIL import Image

from mpdit.evaluation.metrics import mean_kernel
from mpdit.evaluation.reference import Reference


def assert_same(one, other, ignore=()):
    for name in vars(one).keys() - set(ignore):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_real_images_give_statistics_rows_and_a_floor(digit_reference, digit_data, tmp_path):
    built = Reference.load(digit_reference)
    assert (built.name, built.features, built.count, built.floor.count) == ("digits", "efficientnet-lite0", 40, 10)
    assert built.mu.shape == (1280,) and built.sigma.shape == (1280, 1280) and built.rows.shape == (40, 1280)
    np.testing.assert_allclose(built.mu, built.rows.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(built.sigma, np.cov(built.rows.astype(np.float64), rowvar=False), atol=1e-12)
    assert built.floor.fid > 0 and abs(built.floor.kid) < 0.5
    assert len(built.hash) == len(built.features_hash) == 16
    assert built.mean_kernel == mean_kernel(built.rows)

    (tmp_path / "data.json").write_text(json.dumps(digit_data))
    assert build_reference(str(tmp_path / "data.json"), tmp_path / "again.npz") == 0
    assert_same(built, Reference.load(tmp_path / "again.npz"))


def test_which_pictures_or_statistics_it_is_made_from_is_recorded(digit_reference, digit_data, tmp_path, capsys):
    known, built = tmp_path / "sources/x.json", Reference.load(digit_reference)
    data = json.dumps(digit_data)
    assert build_reference(data, tmp_path / "a.npz", known=known) == 0
    assert json.loads(known.read_text())["fingerprint"] == Reference.load(tmp_path / "a.npz").identity == built.listing
    others = json.dumps(digit_data | {"path": str(tmp_path / "others")})
    for label in range(2):
        (tmp_path / "others" / str(label)).mkdir(parents=True)
        Image.new("L", (28, 28)).save(tmp_path / "others" / str(label) / "0.png")
    assert build_reference(others, tmp_path / "b.npz", known=known) == 2
    assert "others: holds other pictures" in capsys.readouterr().err and not (tmp_path / "b.npz").exists()

    for mean in (
        0.0,
        1.0,
    ):  # other statistics in the same file are an input of the workflow that makes the reference anew
        np.savez(tmp_path / "s.npz", mu=np.full(1280, mean), sigma=np.eye(1280))
        assert build_reference(data, tmp_path / "c.npz", reference=tmp_path / "s.npz", known=tmp_path / "s.json") == 0
        identity = Reference.load(tmp_path / "c.npz").identity
        assert json.loads((tmp_path / "s.json").read_text())["fingerprint"] == identity


def test_the_hash_changes_with_the_images(digit_reference, digit_data, digit_folder, tmp_path):
    shutil.copytree(digit_folder, tmp_path / "other")
    picture = tmp_path / "other" / "3" / "12.png"
    Image.open(picture).transpose(Image.Transpose.ROTATE_180).save(picture)
    data = json.dumps({**digit_data, "path": str(tmp_path / "other")})
    assert build_reference(data, tmp_path / "other.npz", count=30) == 0
    other, built = Reference.load(tmp_path / "other.npz"), Reference.load(digit_reference)
    assert other.hash != built.hash and other.features_hash == built.features_hash
    assert other.floor.count == 20  # half of them, because there are fewer than twice 30


def test_held_out_pictures_are_not_in_the_reference_unless_they_are_named_as_it(digit_reference, digit_data, tmp_path):
    data = json.dumps({**digit_data, "holdout": 2})  # of four per class
    assert build_reference(data, tmp_path / "left.npz") == 0
    assert build_reference(data, tmp_path / "named.npz", reference=digit_data["path"]) == 0
    left, named = Reference.load(tmp_path / "left.npz"), Reference.load(tmp_path / "named.npz")
    assert (left.count, named.count) == (20, 40)
    assert_same(named, Reference.load(digit_reference), ignore=("name", "hash", "listing"))


def test_other_real_images_need_no_classes(digit_reference, digit_data, digit_folder, tmp_path):
    pictures = sorted(digit_folder.rglob("*.png"), key=lambda path: (path.parent.name, path.name))
    (tmp_path / "flat").mkdir()
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive, tarfile.open(tmp_path / "flat.tar", "w") as tar:
        for index, picture in enumerate(pictures):
            shutil.copy(picture, tmp_path / f"flat/{index:02d}.png")
            archive.write(picture, f"{index:02d}.png")
            tar.add(picture, f"some/{index:02d}.png")
    table = pyarrow.table({"image": [picture.read_bytes() for picture in pictures]})
    pyarrow.parquet.write_table(table, tmp_path / "flat.parquet")
    built = Reference.load(digit_reference)
    data = json.dumps({**digit_data, "source": "mnist", "path": None})  # whose images are not read
    for name in ("flat", "flat.zip", "flat.tar", "flat.parquet", str(digit_folder)):
        assert build_reference(data, tmp_path / "other.npz", reference=tmp_path / name) == 0
        other = Reference.load(tmp_path / "other.npz")
        assert other.name == (tmp_path / name).name
        assert_same(built, other, ignore=["name", "listing"])


@pytest.mark.parametrize(
    ("changes", "options", "line"),
    [
        ({}, {"count": 1}, "--count: 1: must be at least 2"),
        (
            {},
            {"features": "vgg"},
            "features: 'vgg': must be one of efficientnet-lite0, efficientnet-lite0-pca64, inception",
        ),
        ({}, {"features": "inception", "weights": "none.pth"}, "weights: none.pth: no such file"),
        ({"resolution": 0}, {}, "data.resolution: "),
        ({"path": "nowhere"}, {}, "data.path: nowhere: no such folder"),
        ({}, {"reference": "nowhere"}, "nowhere: no such folder; expected a folder, .zip, .tar or .parquet of images"),
        ({}, {"reference": "nowhere.npz"}, "nowhere.npz: no such file"),
    ],
)
def test_a_mistake_is_named_in_one_line(digit_data, tmp_path, capsys, changes, options, line):
    assert build_reference(json.dumps({**digit_data, **changes}), tmp_path / "reference.npz", **options) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mpdit reference: {line}") and error.count("\n") == 1
    assert not (tmp_path / "reference.npz").exists()


def test_statistics_of_other_features_are_refused(digit_data, tmp_path, capsys):
    np.savez(tmp_path / "published.npz", mu=np.zeros(2048), sigma=np.eye(2048))  # as of Inception
    data = json.dumps(digit_data)
    assert build_reference(data, tmp_path / "other.npz", reference=tmp_path / "published.npz") == 2
    error = capsys.readouterr().err
    assert "published.npz: mu is float64 (2048,): must be floats (1280,) for these features\n" in error
    assert not (tmp_path / "other.npz").exists()


def test_a_data_argument_that_is_not_json_is_refused(tmp_path, capsys):
    assert build_reference("{name", tmp_path / "reference.npz") == 2
    assert "DATA_JSON: not valid JSON (" in capsys.readouterr().err
    assert build_reference("nowhere.json", tmp_path / "reference.npz") == 2
    assert "nowhere.json: no such file\n" in capsys.readouterr().err
