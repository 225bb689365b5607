"""Sources of pictures: the same from every packing, in any process; and broken pictures in each."""

import io
import multiprocessing
import pickle
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers.packings import PACKINGS, PICTURES, WRITERS, data_of, noise_picture, pack_pictures, write_folder, write_zip
from PIL import Image

from mpdit.data import listing
from mpdit.data.encode import encode
from mpdit.data.latents import Latents
from mpdit.data.sources import SOURCES, open_source, rgb_images
from mpdit.experiment.parse import parse_data
from mpdit.experiment.schema import Data
from mpdit.system.errors import UserError


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Packing -> the data section of PICTURES packed that way."""
    return pack_pictures(tmp_path_factory.mktemp("packed"))


def images_of(data):
    return list(rgb_images(open_source(data), data))


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_holds_the_same_pictures(packed, packing):
    source, folder = open_source(packed[packing]), open_source(packed["folder"])
    assert source.classes == ["n00", "n01", "n02"] and source.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 3
    if packing != "parquet":
        assert list(source.names) == sorted(PICTURES)
    for index in reversed(range(len(source))):  # in any order
        assert source.read(index) == PICTURES[folder.names[index]]


def encoded_fingerprints(packed, folder):
    """The different fingerprints of the latents of several packings, whose arrays are compared as well."""
    encoded = {}
    for packing, data in packed.items():
        encode(open_source(data), data, folder / packing)
        latents = Latents(folder / packing)
        encoded[packing] = latents
        assert np.array_equal(latents.mean, encoded["folder"].mean)
        assert np.array_equal(latents.labels, encoded["folder"].labels)
        assert latents.manifest.source.class_order
    return {latents.fingerprint for latents in encoded.values()}


def test_latents_do_not_depend_on_the_packing(packed, tmp_path):
    assert len(encoded_fingerprints(packed, tmp_path)) == 1


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_real_imagenet_is_the_same_from_all_packings(shared_data, tmp_path, every):
    with zipfile.ZipFile(shared_data / "imagenet-1000.zip") as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".JPEG")]
        files = {name: archive.read(name) for name in pictures[::every]}
        gray = [name for name in pictures if Image.open(archive.open(name)).mode == "L"]
        files |= {name: archive.read(name) for name in gray}  # the real pictures include some in grayscale
    assert len(gray) == 23
    packed = {
        packing: data_of(packing, write(tmp_path / packing, files), resolution=16) for packing, write in WRITERS.items()
    }
    assert len(encoded_fingerprints(packed, tmp_path / "latents")) == 1
    classes = Latents(tmp_path / "latents/parquet").classes
    assert list(classes) == sorted(name.split("/")[0] for name in files)
    if every == 1:
        known = {0: "n01440764", 207: "n02099601", 281: "n02123045", 388: "n02510455", 999: "n15075141"}
        assert {label: classes[label] for label in known} == known  # ImageNet's own numbers
        assert len(classes) == 1000


def test_every_declared_source_can_be_opened():
    assert list(SOURCES) == Data.model_json_schema()["properties"]["source"]["enum"]


@pytest.mark.parametrize(("archive", "gray"), [("cifar10-test.zip", 0), ("imagenet-1000.zip", 23)])
def test_real_pictures_become_crops_in_rgb(shared_data, archive, gray):
    source = open_source(data_of("zip", shared_data / archive))
    with zipfile.ZipFile(shared_data / archive) as opened:
        modes = [Image.open(io.BytesIO(opened.read(name))).mode for name in source.names[:1000]]
    assert modes.count("L") == gray
    sample = [index for index, mode in enumerate(modes) if mode == "L"] or range(0, len(source), 500)
    for index in sample:
        crop = source.picture(index, 32).crop
        assert crop.shape == (32, 32, 3) and crop.std() > 5
        assert ((crop == crop[..., :1]).all()) == (gray > 0)


# In worker processes


def _crops(source, start):
    return [source.picture(index, 8).crop for index in range(start, len(source), 2)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_forked_processes_read_the_same_pictures(packed, packing):
    source = open_source(packed[packing])
    expected = [_crops(source, start) for start in range(2)]  # which opens the file before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        crops = pool.starmap(_crops, [(source, 0), (source, 1)])
    assert np.array_equal(np.concatenate(expected), np.concatenate(crops))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_pickled_source_reads_the_same_pictures(packed, packing):
    source = open_source(packed[packing])
    source.read(3)
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.read(index) for index in range(len(copy))] == [source.read(index) for index in range(len(source))]


# Images


def test_images_are_rgb_and_read_lazily(tmp_path):
    broken = {name: content if name < "n01" else b"broken" for name, content in PICTURES.items()}
    data = data_of("folder", write_folder(tmp_path / "it", broken))
    stream = rgb_images(open_source(data), data)
    for _ in range(3):
        image, label = next(stream)
        assert (image.shape, image.dtype, label) == ((8, 8, 3), np.uint8, 0)
    with pytest.raises(UserError, match=r"n01/0\.JPEG: broken picture"):
        next(stream)
    data = parse_data({"name": "digits", "source": "mnist", "resolution": 8})
    digits = list(rgb_images(open_source(data), data, indices=[4999, 0]))
    assert [label for _, label in digits] == [9, 0]
    assert all((image[..., :1] == image).all() and image.shape == (8, 8, 3) and image.any() for image, _ in digits)


# Broken pictures

TRUNCATED = noise_picture(5, size=(64, 64))[:1500]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [(TRUNCATED, "truncated"), (b"", "unknown format"), (b"GIF89a" + b"x" * 40, "")],
    ids=["truncated", "empty", "garbled"],
)
def test_a_broken_picture_is_named_or_left_out(tmp_path, packing, content, reason):
    path = WRITERS[packing](tmp_path / "it", PICTURES | {"n01/1.JPEG": content})
    name = "train-00001-of-00003.parquet:1" if packing == "parquet" else "n01/1.JPEG"
    with pytest.raises(UserError) as error:
        images_of(data_of(packing, path))
    message = str(error.value)
    assert message.startswith(f"{path}: {name}: broken picture (") and message.endswith("data.broken: skip")
    assert reason in message and "\n" not in message
    assert len(images_of(data_of(packing, path, broken="skip"))) == len(PICTURES) - 1


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_picture_that_is_stored_in_too_many_bytes_is_broken(tmp_path, monkeypatch, packing):
    path = WRITERS[packing](tmp_path / "it", PICTURES | {"n01/1.JPEG": PICTURES["n01/1.JPEG"] + bytes(10_000)})
    monkeypatch.setattr(listing, "LARGEST_FILE", 10_000)
    with pytest.raises(UserError, match=r"broken picture \(10,\d+ bytes; at most 10,000 are read\)"):
        images_of(data_of(packing, path))
    assert len(images_of(data_of(packing, path, broken="skip"))) == len(PICTURES) - 1


@pytest.mark.parametrize("step", ["read", "decode"])
def test_a_picture_for_which_there_is_no_memory_is_broken(tmp_path, step):
    def fails(_):
        raise MemoryError

    data = data_of("folder", write_folder(tmp_path / "it"))
    source = replace(open_source(data), **{step: fails})
    with pytest.raises(UserError, match=r"it: n00/0\.JPEG: broken picture \(out of memory\)"):
        list(rgb_images(source, data))


def test_a_picture_that_is_a_program_is_not_run(tmp_path, monkeypatch):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    data = data_of("folder", write_folder(tmp_path / "it", {"a/0.jpg": script}))
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(UserError, match="unknown format; expected one of BMP GIF JPEG PNG PPM TIFF WEBP"):
        images_of(data)


def test_a_damaged_zip_member_is_a_broken_picture(tmp_path):
    content = write_zip(tmp_path / "good.zip", compression=zipfile.ZIP_STORED).read_bytes()
    position = content.index(PICTURES["n01/1.JPEG"]) + 60
    flipped = bytes([content[position] ^ 1])
    (tmp_path / "bad.zip").write_bytes(content[:position] + flipped + content[position + 1 :])
    with pytest.raises(UserError, match=r"bad\.zip: n01/1\.JPEG: broken picture \(Bad CRC-32"):
        images_of(data_of("zip", tmp_path / "bad.zip"))
    assert len(images_of(data_of("zip", tmp_path / "bad.zip", broken="skip"))) == len(PICTURES) - 1


def test_a_file_that_cannot_be_read_is_an_error_even_where_broken_pictures_are_skipped(tmp_path):
    data = data_of("folder", write_folder(tmp_path / "it"), broken="skip")
    source = open_source(data)
    (tmp_path / "it/n01/1.JPEG").unlink()  # after it was listed
    with pytest.raises(UserError, match=r"it: n01/1\.JPEG: cannot be read \(.*No such file"):
        list(rgb_images(source, data))
