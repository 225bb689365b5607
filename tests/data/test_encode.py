"""Encoding: what is written is what the pictures are, whole or not at all."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers.digits import DIGITS
from helpers.picture_zips import data, leftovers, make_zip
from PIL import Image

from mpdit.__main__ import main
from mpdit.commands.encode import encode
from mpdit.data import latents_writer as store
from mpdit.data.latents import Latents
from mpdit.data.pictures import Source, images, open_source
from mpdit.system import files
from mpdit.system.errors import UserError


def run(data, folder, **options):
    encode(open_source(data), data, folder, **options)
    return Latents(folder)


STORE = ["labels.npy", "manifest.json", "mean.npy"]


def test_pixels_are_stored_as_they_are(tmp_path):
    fields = data(make_zip(tmp_path / "it.zip"))
    latents = run(fields, tmp_path / "out")
    crops, labels = zip(*images(fields), strict=True)
    assert latents.mean.dtype == np.uint8 and latents.std is None
    assert np.array_equal(latents.mean, np.stack(crops).transpose(0, 3, 1, 2))
    assert latents.labels.tolist() == list(labels) == [0] * 6 + [1] * 6
    assert leftovers(tmp_path / "out") == STORE
    manifest = {key: latents.manifest[key] for key in ("count", "skipped", "shape", "classes", "resolution", "flips")}
    assert manifest == {
        "count": 12,
        "skipped": [],
        "shape": [3, 8, 8],
        "classes": ["cat", "dog"],
        "resolution": 8,
        "flips": "none",
    }
    assert latents.manifest["source"]["path"] == "it.zip"


def test_statistics_are_those_of_all_pixels(tmp_path):
    latents = run(data(make_zip(tmp_path / "it.zip", count=30)), tmp_path / "out")
    pixels = np.asarray(latents.mean, dtype=np.float64) / 127.5 - 1
    np.testing.assert_allclose(latents.manifest["channel_mean"], pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(latents.manifest["channel_std"], pixels.std(axis=(0, 2, 3)), rtol=1e-12)


def test_all_digits_in_a_moment(tmp_path):
    latents = run(DIGITS, tmp_path / "out")
    assert latents.mean.shape == (5000, 1, 8, 8)
    assert np.bincount(latents.labels).tolist() == [500] * 10


def test_mirror_images_follow_their_pictures(tmp_path):
    path = make_zip(tmp_path / "it.zip")
    plain = run(data(path), tmp_path / "plain")
    both = run(data(path, flips="both"), tmp_path / "both")
    assert both.count == 2 * plain.count
    assert np.array_equal(both.mean[::2], plain.mean)
    assert np.array_equal(both.mean[1::2], plain.mean[..., ::-1])
    assert np.array_equal(both.labels, np.repeat(plain.labels, 2))


def test_fingerprints_say_what_is_in_it_not_where_it_lay(tmp_path):
    path = make_zip(tmp_path / "it.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    zipped = run(data(path), tmp_path / "1")
    same = [
        run(data(tmp_path / "folder", source="folder", name="other"), tmp_path / "2"),
        run(data(path, broken="skip"), tmp_path / "3"),
    ]
    for latents in same:
        assert latents.fingerprint == zipped.fingerprint
        assert latents.manifest["source"]["fingerprint"] == zipped.manifest["source"]["fingerprint"]
    others = [
        run(data(make_zip(tmp_path / "other.zip", seed=1)), tmp_path / "4"),
        run(data(path, resolution=9), tmp_path / "5"),
        run(data(path, flips="both"), tmp_path / "6"),
        run(data(make_zip(tmp_path / "less.zip", count=10)), tmp_path / "7"),
    ]
    assert len({latents.fingerprint for latents in [zipped, *others]}) == 5
    assert others[0].manifest["source"]["fingerprint"] != zipped.manifest["source"]["fingerprint"]


def test_broken_pictures_are_left_out_and_named(tmp_path):
    path = make_zip(tmp_path / "it.zip", broken=(1, 7))
    with pytest.raises(UserError, match=r"it\.zip: cat/0001\.png: broken picture"):
        run(data(path), tmp_path / "out")
    assert leftovers(tmp_path / "out") == []
    latents = run(data(path, broken="skip", flips="both"), tmp_path / "out")
    assert latents.manifest["skipped"] == ["cat/0001.png", "dog/0007.png"]
    assert (latents.count, len(latents.mean)) == (20, 20)
    assert np.load(tmp_path / "out/mean.npy").shape == (20, 3, 8, 8)
    assert np.bincount(latents.labels).tolist() == [10, 10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"broken": range(6, 12)}, "it.zip: dog: class without a readable picture"),
        ({"broken": range(12)}, "it.zip: cat: class without a readable picture"),
    ],
)
def test_a_class_of_broken_pictures_is_an_error(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(data(make_zip(tmp_path / "it.zip", **options), broken="skip"), tmp_path / "out")


def test_a_constant_channel_cannot_be_whitened(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        buffer = io.BytesIO()
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3) * np.uint8([1, 0, 1]) + 37).save(buffer, "png")
        archive.writestr("cat/0.png", buffer.getvalue())
    with pytest.raises(UserError, match=r"it\.zip: channel 1 is the same everywhere: must vary"):
        run(data(tmp_path / "it.zip"), tmp_path / "out")


# Whole or not at all

KILLED = """
import json, os, signal, sys
from dataclasses import replace
from mpdit.data.pictures import open_source
from mpdit.commands.encode import encode
DIGITS = json.loads(sys.argv[2])
source = open_source(DIGITS)
def read(index):
    if index == 3000:
        os.kill(os.getpid(), signal.SIGKILL)
    return source.read(index)
encode(replace(source, read=read), DIGITS, sys.argv[1])
"""


def test_a_killed_encoding_starts_afresh(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), json.dumps(DIGITS)])
    assert killed.returncode == -9
    assert leftovers(tmp_path / "out") == [".labels.npy.part", ".mean.npy.part"]
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Latents(tmp_path / "out")
    (tmp_path / "out/.std.npy.part").write_bytes(b"left by another autoencoder")
    latents = run(DIGITS, tmp_path / "out")
    assert leftovers(tmp_path / "out") == STORE
    assert latents.fingerprint == run(DIGITS, tmp_path / "uninterrupted").fingerprint


def test_an_interrupted_encoding_leaves_the_old_store(tmp_path):
    old = run(data(make_zip(tmp_path / "it.zip")), tmp_path / "out")
    (tmp_path / "out/std.npy").write_bytes(b"of an older store")
    source = open_source(DIGITS)

    def read(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(replace(source, read=read), DIGITS, tmp_path / "out")
    assert Latents(tmp_path / "out").fingerprint == old.fingerprint
    assert run(DIGITS, tmp_path / "out").fingerprint != old.fingerprint
    assert leftovers(tmp_path / "out") == STORE


def test_no_manifest_stands_beside_half_replaced_arrays(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "it.zip")
    run(data(path), tmp_path / "out")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(data(path, resolution=9), tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device without space")
@pytest.mark.parametrize("count", [12, 300])  # the first fails at the last flush, the second in the middle
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, count):
    full = lambda path, mode: open("/dev/full", mode)  # noqa: E731, SIM115
    monkeypatch.setattr(store, "open", full, raising=False)
    with pytest.raises(UserError) as error:
        run(data(make_zip(tmp_path / "it.zip", count=count)), tmp_path / "out")
    megabytes = count * (3 * 8 * 8 + 8) / 1e6
    assert str(error.value) == f"{tmp_path}/out: no space left on device: must have room for {megabytes:.1f} MB"
    assert leftovers(tmp_path / "out") == []


def test_memory_does_not_grow_with_the_source(tmp_path):
    def peak(count):
        labels = np.arange(count) % 2
        noise = np.random.default_rng(0).integers(0, 256, 32 * 32 * 3, dtype=np.uint8).tobytes()
        source = Source(
            "zip", "made", 3, ["cat", "dog"], ["x"] * count, labels, lambda index: noise,
            lambda stored: Image.frombytes("RGB", (32, 32), stored),
        )  # fmt: skip
        tracemalloc.start()
        encode(source, data(resolution=32), tmp_path / str(count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(100)  # what is allocated once
    assert peak(3200) < 1.05 * peak(320)


# The command line


def test_the_verb(tmp_path, capsys):
    (tmp_path / "data.json").write_text(json.dumps({"name": "d", "source": "mnist", "resolution": 8}))
    assert main(["encode", str(tmp_path / "data.json"), "--output", str(tmp_path / "out")]) == 0
    assert "encode: 5,000 images of 10 classes as (1, 8, 8) uint8 in" in capsys.readouterr().out
    assert Latents(tmp_path / "out").count == 5000


@pytest.mark.parametrize(
    ("argument", "options", "message"),
    [
        ("nowhere.json", [], "nowhere.json: no such file"),
        ('{"name": ', [], "DATA_JSON: not valid JSON"),
        ('{"name": "d", "source": "mnist", "resolution": 8, "size": 3}', [], "data: unknown key 'size'"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, argument, options, message):
    assert main(["encode", argument, "--output", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mpdit encode: {message}") and error.count("\n") == 1


def test_pixels_do_not_wait_for_torch(tmp_path):
    code = (
        "import sys; from mpdit.__main__ import main; "
        f"main(['encode', {json.dumps(json.dumps(DIGITS))}, '--output', {str(tmp_path)!r}]); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
