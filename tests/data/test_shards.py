"""Shards: the same latents bit for bit, finished shards that are kept, and shards that cannot be merged."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.autoencoders import save_autoencoder
from helpers.damage import rewrite_json
from helpers.digits import DIGITS
from helpers.picture_zips import file_names, write_noise_zip, zip_data

from mpdit.__main__ import main
from mpdit.data import encode as encode_module
from mpdit.data import latents_writer
from mpdit.data.encode import encode
from mpdit.data.fingerprint import PROBES
from mpdit.data.latents import Latents
from mpdit.data.shards import encode_in_shards, encode_shard
from mpdit.data.sources import open_source
from mpdit.system.errors import UserError


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of four pictures, so that a few pictures make many chunks."""
    monkeypatch.setattr(encode_module, "CHUNK", 4)


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    return save_autoencoder(tmp_path_factory.mktemp("autoencoder") / "vae")


def encode_command(data, folder, *options):
    return ["encode", data.model_dump_json(), "--output", str(folder), *options]


def contents(folder):
    """Every file of a latents folder, byte for byte."""
    return {name: (folder / name).read_bytes() for name in file_names(folder)}


def error_line(capsys, argv):
    """The one line that a failing command ends with."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("mpdit encode: ")
    return error


# The same latents


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 30])  # of eight chunks
def test_any_number_of_shards_makes_the_same_latents(tmp_path, small_chunks, shards):
    path = write_noise_zip(tmp_path / "it.zip", count=30, broken=(3, 12, 13, 14, 15))
    data = zip_data(path, broken="skip", flips="both")
    source = open_source(data)
    encode(source, data, tmp_path / "whole")
    encode_in_shards(source, data, tmp_path / "merged", shards)
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    assert len(Latents(tmp_path / "whole").manifest.skipped) == 5


def test_shards_and_workers_make_the_same_latents_with_an_autoencoder(tmp_path, small_chunks, autoencoder):
    path = write_noise_zip(tmp_path / "it.zip", count=22, broken=(1, 7))
    data = zip_data(path, broken="skip", autoencoder=autoencoder)
    source = open_source(data)
    encode(source, data, tmp_path / "whole", device="cpu")
    encode_in_shards(source, data, tmp_path / "merged", 3, device="cpu", workers=2)
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    assert file_names(tmp_path / "whole") == ["labels.npy", "manifest.json", "mean.npy", "std.npy"]


def test_latents_do_not_depend_on_their_neighbors(tmp_path, small_chunks, autoencoder):
    """An autoencoder always gets batches of one size, so broken pictures change no bit of the others in their chunk."""
    broken = [index for index in range(24) if index % 4]  # all but one in each chunk
    encoded = []
    for name, indices in (("whole", ()), ("broken", broken)):
        path = write_noise_zip(tmp_path / f"{name}.zip", count=24, broken=indices, size=(64, 64))
        data = zip_data(path, broken="skip", autoencoder=autoencoder, resolution=64)
        encode(open_source(data), data, tmp_path / name, device="cpu")
        encoded.append(Latents(tmp_path / name))
    assert np.array_equal(encoded[0].mean[::4], encoded[1].mean)
    assert np.array_equal(encoded[0].std[::4], encoded[1].std)


def test_channel_statistics_of_shards_are_those_of_one_computation(tmp_path, small_chunks, autoencoder):
    data = zip_data(write_noise_zip(tmp_path / "it.zip", count=30), autoencoder=autoencoder, resolution=16)
    source = open_source(data)
    manifests = [encode_in_shards(source, data, tmp_path / str(n), n, device="cpu") for n in (2, 5)]
    latents = Latents(tmp_path / "5")
    mean, std = (np.asarray(array, dtype=np.float64) for array in (latents.mean, latents.std))
    variance = mean.var(axis=(0, 2, 3)) + np.square(std).mean(axis=(0, 2, 3))
    for manifest in manifests:
        np.testing.assert_allclose(manifest.channel_mean, mean.mean(axis=(0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(manifest.channel_std, np.sqrt(variance), rtol=1e-6)
    assert manifests[0] == manifests[1]


def test_shards_encoded_by_separate_commands_from_one_listing_are_merged(tmp_path):
    """The commands that the workflow runs, in another order."""
    folder = tmp_path / "out"
    assert main(encode_command(DIGITS, folder, "--list")) == 0
    for shard in ("3/3", "1/3", "2/3"):
        assert main(encode_command(DIGITS, folder, "--shard", shard)) == 0
    assert sorted(path.name for path in (folder / "shards").glob("[!.]*")) == [
        "1-of-3",
        "2-of-3",
        "3-of-3",
        "index.npz",
    ]
    assert main(encode_command(DIGITS, folder, "--shards", "3")) == 0
    encode(open_source(DIGITS), DIGITS, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


# Finished shards are kept

# Encodes digits in four shards; picture 3000, in the third of them, kills the process.
KILLED = """
import os, signal, sys
from dataclasses import replace
from mpdit.data.shards import encode_in_shards
from mpdit.data.sources import open_source
from mpdit.experiment.parse import read_data
data = read_data(sys.argv[2])
source = open_source(data)
def read(index):
    if index == 3000:
        os.kill(os.getpid(), signal.SIGKILL)
    return source.read(index)
encode_in_shards(replace(source, read=read), data, sys.argv[1], 4)
"""


def test_after_a_kill_only_unfinished_shards_are_encoded(tmp_path):
    folder = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), DIGITS.model_dump_json()])
    assert killed.returncode == -signal.SIGKILL
    finished = sorted((folder / "shards").glob("*/manifest.json"))
    assert [path.parent.name for path in finished] == ["1-of-4", "2-of-4"]
    assert {path.name for path in (folder / "shards/3-of-4").iterdir()} >= {".mean.npy.part", ".labels.npy.part"}
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Latents(folder)

    source, indices = open_source(DIGITS), []

    def recorded(index):
        indices.append(index)
        return source.read(index)

    encode_in_shards(replace(source, read=recorded), DIGITS, folder, 4)
    half = 64 * (79 * 2 // 4)  # of the 79 chunks of 64 pictures
    assert indices[:-PROBES] == list(range(half, 5000))  # those of the fingerprint come last
    encode(source, DIGITS, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_finished_shard_is_left_unchanged(tmp_path, capsys):
    command = encode_command(DIGITS, tmp_path, "--shard", "2/4")
    assert main(command) == 0
    folder = tmp_path / "shards/2-of-4"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"}
    assert sorted(before) == ["contents.npy", "labels.npy", "manifest.json", "mean.npy", "statistics.npy"]
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == "encode: shard 2 of 4 was finished before\n"
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"}


def test_a_broken_picture_costs_only_its_own_shard(tmp_path, small_chunks, capsys):
    """A truncated picture in the last third: the other shards are finished, and are kept once it is repaired."""
    path = write_noise_zip(tmp_path / "it.zip", count=36, broken=(30,))
    command = encode_command(zip_data(path), tmp_path / "out")
    assert f"{path}: dog/0030.png: broken picture" in error_line(capsys, [*command, "--shards", "3"])
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/shards").glob("*/manifest.json")}
    assert sorted(path.parent.name for path in times) == ["1-of-3", "2-of-3"]
    assert file_names(tmp_path / "out/shards/3-of-3") == []
    write_noise_zip(path, count=36)
    for shard in (1, 2, 3):
        assert main([*command, "--shard", f"{shard}/3"]) == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert main([*command, "--shards", "3"]) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device without space")
@pytest.mark.parametrize("full_folder", ["3-of-3", "out"])  # in a shard; in the merge
def test_a_full_disk_leaves_finished_shards(tmp_path, small_chunks, capsys, monkeypatch, full_folder):
    def on_full_disk(path, mode):
        return open("/dev/full" if Path(path).parent.name == full_folder and mode == "wb" else path, mode)

    monkeypatch.setattr(latents_writer, "open", on_full_disk, raising=False)
    data = zip_data(write_noise_zip(tmp_path / "it.zip", count=36))
    command = encode_command(data, tmp_path / "out", "--shards", "3")
    assert re.search(r"no space left on device; [\d.]+ MB are needed", error_line(capsys, command))
    finished = [path.parent.name for path in (tmp_path / "out/shards").glob("*/manifest.json")]
    assert sorted(finished) == ["1-of-3", "2-of-3", "3-of-3"][: 2 if full_folder == "3-of-3" else 3]
    monkeypatch.undo()
    monkeypatch.setattr(encode_module, "CHUNK", 4)
    assert main(command) == 0


# Shards that cannot be merged


def finished_shards(tmp_path, **fields):
    """Four finished shards of noise: their data section, and the latents folder that they are in."""
    data = zip_data(write_noise_zip(tmp_path / "it.zip", count=32), **fields)
    source = open_source(data)
    for shard in (1, 2, 3, 4):
        encode_shard(source, data, tmp_path / "out", shard, 4, device="cpu")
    return data, tmp_path / "out"


def flip_a_bit(folder, data):
    content = bytearray((folder / "mean.npy").read_bytes())
    content[-1] ^= 1
    (folder / "mean.npy").write_bytes(content)


def truncate_the_labels(folder, data):
    os.truncate(folder / "labels.npy", 150)


def remove_an_array(folder, data):
    (folder / "mean.npy").unlink()


def replace_by_the_next_shard(folder, data):
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("3-of-4"), folder)


def encode_other_pictures(folder, data):
    shutil.rmtree(folder)
    other = data.model_copy(update={"path": str(write_noise_zip(folder.parents[2] / "other.zip", count=33))})
    encode_shard(open_source(other), other, folder.parents[1], 2, 4)


def encode_with_flips(folder, data):
    shutil.rmtree(folder)
    encode_shard(open_source(data), data.model_copy(update={"flips": "both"}), folder.parents[1], 2, 4)


def empty_the_manifest(folder, data):
    (folder / "manifest.json").write_text("{}")


def change_the_version(folder, data):
    rewrite_json(folder / "manifest.json", version=2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (flip_a_bit, "/mean.npy: damaged"),
        (truncate_the_labels, "/labels.npy: damaged"),
        (remove_an_array, "/mean.npy: damaged"),
        (replace_by_the_next_shard, r": pictures is \(16, 24\), expected \(8, 16\) for the data as they are now"),
        (encode_other_pictures, ": listing is [0-9a-f]{12}, expected [0-9a-f]{12} for the data as they are now"),
        (encode_with_flips, ": flips is both, expected none for the data as they are now"),
        (empty_the_manifest, "/manifest.json: missing field 'version'"),
        (change_the_version, ": version is 2, expected 1"),
    ],
)
def test_a_wrong_shard_is_named(tmp_path, small_chunks, capsys, spoil, message):
    data, folder = finished_shards(tmp_path)
    shard = folder / "shards/2-of-4"
    spoil(shard, data)
    command = encode_command(data, folder, "--shards", "4")
    error = error_line(capsys, command)
    assert re.search(f"mpdit encode: {re.escape(str(shard))}{message}", error)
    assert f"delete {shard} and run again" in error or "delete that folder and run again" in error
    assert len(list((folder / "shards").iterdir())) == 4
    assert file_names(folder) == ["shards"]
    shutil.rmtree(shard)  # as the message says
    assert main(command) == 0
    encode(open_source(data), data, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_shard_of_another_autoencoder_is_named(tmp_path, small_chunks, autoencoder):
    data, folder = finished_shards(tmp_path, autoencoder=autoencoder)
    source, shard = open_source(data), folder / "shards/3-of-4"
    shutil.rmtree(shard)
    other = save_autoencoder(tmp_path / "other", scaling_factor=0.75, latent_channels=4, layers_per_block=2)
    encode_shard(source, data.model_copy(update={"autoencoder": other}), folder, 3, 4, device="cpu")
    with pytest.raises(UserError, match=rf"{shard}: autoencoder is \w{{12}}, expected \w{{12}} as in .*/1-of-4; del"):
        encode_in_shards(source, data, folder, 4)
    shutil.rmtree(shard)
    encode_shard(source, data.model_copy(update={"autoencoder": None}), folder, 3, 4)
    with pytest.raises(UserError, match=f"{shard}: autoencoder is none, expected one as in data.autoencoder; delete"):
        encode_in_shards(source, data, folder, 4)


def test_a_failed_merge_keeps_the_previous_latents(tmp_path, small_chunks):
    data, folder = finished_shards(tmp_path)
    encode(open_source(DIGITS), DIGITS, folder)
    before = Latents(folder).fingerprint
    flip_a_bit(folder / "shards/4-of-4", data)
    with pytest.raises(UserError, match="damaged"):
        encode_in_shards(open_source(data), data, folder, 4)
    assert Latents(folder).fingerprint == before


def test_a_label_out_of_range_is_named(tmp_path, small_chunks):
    data = zip_data(write_noise_zip(tmp_path / "it.zip"))
    source = open_source(data)
    labels = source.labels.copy()
    labels[5] = 2
    wrong = replace(source, listing=source.listing._replace(labels=labels))
    with pytest.raises(UserError, match=r"it\.zip: cat/0005\.png: label 2 is out of range; expected 0 to 1 for 2 cl"):
        encode_in_shards(wrong, data, tmp_path / "out", 2)
