"""Encoding: the arrays and the manifest are those of the pictures, and are written completely or not at all."""

import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers.digits import DIGITS
from helpers.packings import data_of, write_zip
from helpers.picture_zips import file_names, write_noise_zip, zip_data
from PIL import Image

from mpdit.data import latents_writer
from mpdit.data.encode import chunk_size, chunks_of, encode
from mpdit.data.latents import Latents
from mpdit.data.listing import PictureListing
from mpdit.data.sources import PictureSource, open_source, rgb_images
from mpdit.system import files
from mpdit.system.errors import UserError

LATENTS_FILES = ["labels.npy", "manifest.json", "mean.npy"]


def encoded(data, folder, **options):
    encode(open_source(data), data, folder, **options)
    return Latents(folder)


def test_pixels_are_stored_unchanged(tmp_path):
    data = zip_data(write_noise_zip(tmp_path / "it.zip"))
    latents = encoded(data, tmp_path / "out")
    crops, labels = zip(*rgb_images(open_source(data), data), strict=True)
    assert latents.mean.dtype == np.uint8 and latents.std is None
    assert np.array_equal(latents.mean, np.stack(crops).transpose(0, 3, 1, 2))
    assert latents.labels.tolist() == list(labels) == [0] * 6 + [1] * 6
    assert file_names(tmp_path / "out") == LATENTS_FILES
    manifest = latents.manifest
    assert (manifest.count, manifest.skipped, manifest.shape, manifest.classes) == (12, (), (3, 8, 8), ("cat", "dog"))
    assert (manifest.resolution, manifest.flips, manifest.source.path) == (8, "none", "it.zip")


def test_channel_statistics_are_those_of_all_pixels(tmp_path):
    latents = encoded(zip_data(write_noise_zip(tmp_path / "it.zip", count=30)), tmp_path / "out")
    pixels = np.asarray(latents.mean, dtype=np.float64) / 127.5 - 1
    np.testing.assert_allclose(latents.manifest.channel_mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(latents.manifest.channel_std, pixels.std(axis=(0, 2, 3)), rtol=1e-12)


def test_all_digits_are_encoded(tmp_path):
    latents = encoded(DIGITS, tmp_path / "out")
    assert latents.mean.shape == (5000, 1, 8, 8)
    assert np.bincount(latents.labels).tolist() == [500] * 10


def test_mirror_images_follow_their_pictures(tmp_path):
    path = write_noise_zip(tmp_path / "it.zip")
    plain = encoded(zip_data(path), tmp_path / "plain")
    both = encoded(zip_data(path, flips="both"), tmp_path / "both")
    assert both.count == 2 * plain.count
    assert np.array_equal(both.mean[::2], plain.mean)
    assert np.array_equal(both.mean[1::2], plain.mean[..., ::-1])
    assert np.array_equal(both.labels, np.repeat(plain.labels, 2))


def test_the_fingerprint_depends_on_the_content_not_on_where_it_was(tmp_path):
    path = write_noise_zip(tmp_path / "it.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    zipped = encoded(zip_data(path), tmp_path / "1")
    same = [
        encoded(data_of("folder", tmp_path / "folder", name="other"), tmp_path / "2"),
        encoded(zip_data(path, broken="skip"), tmp_path / "3"),
    ]
    for latents in same:
        assert latents.fingerprint == zipped.fingerprint
        assert latents.manifest.source.fingerprint == zipped.manifest.source.fingerprint
    others = [
        encoded(zip_data(write_noise_zip(tmp_path / "other.zip", seed=1)), tmp_path / "4"),
        encoded(zip_data(path, resolution=9), tmp_path / "5"),
        encoded(zip_data(path, flips="both"), tmp_path / "6"),
        encoded(zip_data(write_noise_zip(tmp_path / "less.zip", count=10)), tmp_path / "7"),
    ]
    assert len({latents.fingerprint for latents in [zipped, *others]}) == 5
    assert others[0].manifest.source.fingerprint != zipped.manifest.source.fingerprint


def test_the_fingerprint_is_that_of_version_0_1(tmp_path):
    """Trained runs record it, so it must not change."""
    picture = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(picture, "png")
    data = zip_data(write_zip(tmp_path / "it.zip", {"a/0.png": picture.getvalue(), "b/0.png": picture.getvalue()}))
    manifest = encoded(data, tmp_path / "out").manifest
    assert manifest.fingerprint == "323d447bc50a573db5d2c7fcba47c3dad1336ad723453bea46356bbf13987196"


def test_broken_pictures_are_left_out_and_named(tmp_path):
    path = write_noise_zip(tmp_path / "it.zip", broken=(1, 7))
    with pytest.raises(UserError, match=r"it\.zip: cat/0001\.png: broken picture"):
        encoded(zip_data(path), tmp_path / "out")
    assert file_names(tmp_path / "out") == []
    latents = encoded(zip_data(path, broken="skip", flips="both"), tmp_path / "out")
    assert latents.manifest.skipped == ("cat/0001.png", "dog/0007.png")
    assert (latents.count, len(latents.mean)) == (20, 20)
    assert np.load(tmp_path / "out/mean.npy").shape == (20, 3, 8, 8)
    assert np.bincount(latents.labels).tolist() == [10, 10]


@pytest.mark.parametrize(("broken", "empty_class"), [(range(6, 12), "dog"), (range(12), "cat")])
def test_a_class_of_broken_pictures_is_an_error(tmp_path, broken, empty_class):
    path = write_noise_zip(tmp_path / "it.zip", broken=broken)
    with pytest.raises(UserError, match=f"it.zip: class {empty_class} has no readable picture"):
        encoded(zip_data(path, broken="skip"), tmp_path / "out")


def test_a_constant_channel_is_an_error(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3) * np.uint8([1, 0, 1]) + 37).save(buffer, "png")
    path = write_zip(tmp_path / "it.zip", {"cat/0.png": buffer.getvalue()})
    with pytest.raises(UserError, match=r"it\.zip: channel 1 is the same everywhere"):
        encoded(zip_data(path), tmp_path / "out")


def test_a_label_out_of_range_is_named(tmp_path):
    data = zip_data(write_noise_zip(tmp_path / "it.zip"))
    source = open_source(data)
    labels = source.labels.copy()
    labels[5] = 2
    wrong = replace(source, listing=source.listing._replace(labels=labels))
    with pytest.raises(UserError, match=r"it\.zip: cat/0005\.png: label 2 is out of range; expected 0 to 1 for 2 cl"):
        encode(wrong, data, tmp_path / "out")


def test_chunks_depend_only_on_the_resolution():
    assert [chunk_size(n) for n in (8, 32, 90, 128, 256, 512, 513, 2000)] == [64, 64, 64, 32, 8, 2, 1, 1]
    assert chunks_of(70, 128) == [range(0, 32), range(32, 64), range(64, 70)]
    assert chunks_of(0, 128) == []


# Completely or not at all

KILLED = """
import os, signal, sys
from dataclasses import replace
from mpdit.data.encode import encode
from mpdit.data.sources import open_source
from mpdit.experiment.parse import read_data
data = read_data(sys.argv[2])
source = open_source(data)
def read(index):
    if index == 3000:
        os.kill(os.getpid(), signal.SIGKILL)
    return source.read(index)
encode(replace(source, read=read), data, sys.argv[1])
"""


def test_a_killed_encoding_starts_from_the_beginning(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), DIGITS.model_dump_json()])
    assert killed.returncode == -9
    assert file_names(tmp_path / "out") == [".labels.npy.part", ".mean.npy.part"]
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Latents(tmp_path / "out")
    (tmp_path / "out/.std.npy.part").write_bytes(b"left by another autoencoder")
    latents = encoded(DIGITS, tmp_path / "out")
    assert file_names(tmp_path / "out") == LATENTS_FILES
    assert latents.fingerprint == encoded(DIGITS, tmp_path / "uninterrupted").fingerprint


def test_an_interrupted_encoding_leaves_the_previous_latents(tmp_path):
    previous = encoded(zip_data(write_noise_zip(tmp_path / "it.zip")), tmp_path / "out")
    (tmp_path / "out/std.npy").write_bytes(b"of older latents")
    source = open_source(DIGITS)

    def read(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(replace(source, read=read), DIGITS, tmp_path / "out")
    assert Latents(tmp_path / "out").fingerprint == previous.fingerprint
    assert encoded(DIGITS, tmp_path / "out").fingerprint != previous.fingerprint
    assert file_names(tmp_path / "out") == LATENTS_FILES


def test_no_manifest_is_left_beside_half_replaced_arrays(tmp_path, monkeypatch):
    path = write_noise_zip(tmp_path / "it.zip")
    encoded(zip_data(path), tmp_path / "out")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encoded(zip_data(path, resolution=9), tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device without space")
@pytest.mark.parametrize("count", [12, 300])  # the first fails at the last flush, the second before
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, count):
    full = lambda path, mode: open("/dev/full", mode)  # noqa: E731, SIM115
    monkeypatch.setattr(latents_writer, "open", full, raising=False)
    with pytest.raises(UserError) as error:
        encoded(zip_data(write_noise_zip(tmp_path / "it.zip", count=count)), tmp_path / "out")
    megabytes = count * (3 * 8 * 8 + 8) / 1e6
    assert str(error.value) == f"{tmp_path}/out: no space left on device; {megabytes:.1f} MB are needed"
    assert file_names(tmp_path / "out") == []


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 32 * 32 * 3, dtype=np.uint8).tobytes()

    def peak(count):
        listing = PictureListing(["cat", "dog"], ["x"] * count, np.arange(count) % 2, {})
        source = PictureSource(
            "zip", "made-up", 3, listing, lambda index: noise, lambda stored: Image.frombytes("RGB", (32, 32), stored)
        )
        tracemalloc.start()
        encode(source, zip_data("made-up", resolution=32), tmp_path / str(count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(100)  # includes what is allocated only once
    assert peak(3200) < 1.05 * peak(320)
