"""Shards and worker processes: the same store bit for bit, finished parts that stay, and nothing left running."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.autoencoders import saved
from helpers.digits import DIGITS
from helpers.picture_zips import data, leftovers, make_zip
from PIL import Image

from mpdit.__main__ import main
from mpdit.commands.encode import encode, encode_in_shards, encode_shard
from mpdit.data import autoencoder as encoding
from mpdit.data import decode_workers as decoding
from mpdit.data import latents_writer as store
from mpdit.data.latents import Latents
from mpdit.data.pictures import open_source, save_index
from mpdit.system.errors import UserError


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of four pictures, so that few of them make many."""
    monkeypatch.setattr(encoding, "CHUNK", 4)


def contents(folder):
    """Every file of a store, byte for byte."""
    return {name: (folder / name).read_bytes() for name in leftovers(folder)}


def one_line(capsys, argv):
    """The one line that the command ends with, having failed."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("mpdit encode: ")
    return error


# The same store


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 30])  # of eight chunks
def test_any_number_of_shards_makes_the_same_store(tmp_path, small_chunks, shards):
    fields = data(make_zip(tmp_path / "it.zip", count=30, broken=(3, 12, 13, 14, 15)), broken="skip", flips="both")
    source = open_source(fields)
    encode(source, fields, tmp_path / "whole")
    encode_in_shards(source, fields, tmp_path / "parts", shards)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert len(Latents(tmp_path / "whole").manifest["skipped"]) == 5


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("autoencoder") / "vae")


def test_so_it_does_with_an_autoencoder_and_workers(tmp_path, small_chunks, autoencoder):
    fields = data(make_zip(tmp_path / "it.zip", count=22, broken=(1, 7)), broken="skip", autoencoder=autoencoder)
    source = open_source(fields)
    encode(source, fields, tmp_path / "whole", device="cpu")
    encode_in_shards(source, fields, tmp_path / "parts", 3, device="cpu", workers=2)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert leftovers(tmp_path / "whole") == ["labels.npy", "manifest.json", "mean.npy", "std.npy"]


def test_latents_do_not_depend_on_their_neighbours(tmp_path, small_chunks, autoencoder):
    """An autoencoder always takes as many at once, so broken pictures change no bit of the others in their chunk."""
    broken = [index for index in range(24) if index % 4]  # one of each chunk is left
    stores = []
    for name, left_out in (("whole", ()), ("broken", broken)):
        path = make_zip(tmp_path / f"{name}.zip", count=24, broken=left_out, size=(64, 64))
        fields = data(path, broken="skip", autoencoder=autoencoder, resolution=64)
        encode(open_source(fields), fields, tmp_path / name, device="cpu")
        stores.append(Latents(tmp_path / name))
    assert np.array_equal(stores[0].mean[::4], stores[1].mean)
    assert np.array_equal(stores[0].std[::4], stores[1].std)


def test_statistics_of_shards_are_those_of_one_computation(tmp_path, small_chunks, autoencoder):
    fields = data(make_zip(tmp_path / "it.zip", count=30), autoencoder=autoencoder, resolution=16)
    source = open_source(fields)
    manifests = [encode_in_shards(source, fields, tmp_path / str(n), n, device="cpu") for n in (2, 5)]
    latents = Latents(tmp_path / "5")
    mean, std = (np.asarray(array, dtype=np.float64) for array in (latents.mean, latents.std))
    variance = mean.var(axis=(0, 2, 3)) + np.square(std).mean(axis=(0, 2, 3))
    for manifest in manifests:
        np.testing.assert_allclose(manifest["channel_mean"], mean.mean(axis=(0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(manifest["channel_std"], np.sqrt(variance), rtol=1e-6)
    assert manifests[0] == manifests[1]


def test_chunks_depend_on_the_resolution_alone():
    sizes = [encoding.chunk_size(resolution) for resolution in (8, 32, 90, 128, 256, 512, 513, 2000)]
    assert sizes == [64, 64, 64, 32, 8, 2, 1, 1]
    assert encoding.chunks_of(70, 128) == [range(0, 32), range(32, 64), range(64, 70)]
    assert encoding.chunks_of(0, 128) == []


def test_shards_side_by_side_from_one_listing(tmp_path):
    """The commands that the workflow runs, in another order."""
    fields = json.dumps(DIGITS)
    folder = tmp_path / "out"
    assert main(["encode", fields, "--output", str(folder), "--list"]) == 0
    for part in ("3/3", "1/3", "2/3"):
        assert main(["encode", fields, "--output", str(folder), "--shard", part]) == 0
    assert sorted(path.name for path in (folder / "shards").iterdir()) == ["1-of-3", "2-of-3", "3-of-3", "index.npz"]
    assert main(["encode", fields, "--output", str(folder), "--shards", "3"]) == 0
    encode(open_source(DIGITS), DIGITS, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


# Finished shards stay

# Encodes digits in four shards; picture 3000, which is in the third, kills the process.
KILLED = """
import json, os, signal, sys
from dataclasses import replace
from mpdit.data.pictures import open_source
from mpdit.commands.encode import encode_in_shards
fields = json.loads(sys.argv[2])
source = open_source(fields)
def read(index):
    if index == 3000:
        os.kill(os.getpid(), signal.SIGKILL)
    return source.read(index)
encode_in_shards(replace(source, read=read), fields, sys.argv[1], 4)
"""


def test_a_killed_encoding_does_no_finished_shard_again(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), json.dumps(DIGITS)])
    assert killed.returncode == -signal.SIGKILL
    finished = sorted((folder / "shards").glob("*/manifest.json"))
    assert [path.parent.name for path in finished] == ["1-of-4", "2-of-4"]
    assert {path.name for path in (folder / "shards/3-of-4").iterdir()} >= {".mean.npy.part", ".labels.npy.part"}
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Latents(folder)

    read = []

    class Watched:
        def __init__(self, source):
            self.source = source

        def __call__(self, index):
            read.append(index)
            return self.source.read(index)

    source = open_source(DIGITS)
    encode_in_shards(replace(source, read=Watched(source)), DIGITS, folder, 4)
    half = 64 * (79 * 2 // 4)  # of the 79 chunks of 64 pictures
    assert read == list(range(half, 5000))
    encode(source, DIGITS, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_finished_shard_is_left_as_it_is(tmp_path, capsys):
    command = ["encode", json.dumps(DIGITS), "--output", str(tmp_path), "--shard", "2/4"]
    assert main(command) == 0
    place = tmp_path / "shards/2-of-4"
    before = {path.name: path.stat().st_mtime_ns for path in place.iterdir() if path.name != ".lock"}
    assert sorted(before) == ["contents.npy", "labels.npy", "manifest.json", "mean.npy", "statistics.npy"]
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == "encode: shard 2 of 4 was finished before\n"
    assert before == {path.name: path.stat().st_mtime_ns for path in place.iterdir() if path.name != ".lock"}


def test_a_broken_picture_costs_its_own_shard_only(tmp_path, small_chunks, capsys):
    """A truncated JPEG in the last third: the others are finished, and stay when it has been mended."""
    path = make_zip(tmp_path / "it.zip", count=36, broken=(30,))
    command = ["encode", json.dumps(data(path)), "--output", str(tmp_path / "out"), "--shards", "3"]
    assert f"{path}: dog/0030.png: broken picture" in one_line(capsys, command)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/shards").glob("*/manifest.json")}
    assert sorted(path.parent.name for path in times) == ["1-of-3", "2-of-3"]
    assert leftovers(tmp_path / "out/shards/3-of-3") == []
    make_zip(path, count=36)
    for part in (1, 2, 3):
        assert main([*command[:-2], "--shard", f"{part}/3"]) == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert main(command) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device without space")
@pytest.mark.parametrize("full_at", ["3-of-3", "out"])  # in a shard; in the merge
def test_a_full_disk_leaves_finished_shards(tmp_path, small_chunks, capsys, monkeypatch, full_at):
    def on_full_disk(path, mode):
        return open("/dev/full" if Path(path).parent.name == full_at and mode == "wb" else path, mode)

    monkeypatch.setattr(store, "open", on_full_disk, raising=False)
    fields = data(make_zip(tmp_path / "it.zip", count=36))
    command = ["encode", json.dumps(fields), "--output", str(tmp_path / "out"), "--shards", "3"]
    assert "no space left on device: must have room for" in one_line(capsys, command)
    finished = [path.parent.name for path in (tmp_path / "out/shards").glob("*/manifest.json")]
    assert sorted(finished) == ["1-of-3", "2-of-3", "3-of-3"][: 2 if full_at == "3-of-3" else 3]
    monkeypatch.undo()
    monkeypatch.setattr(encoding, "CHUNK", 4)
    assert main(command) == 0


# Shards that can't be merged


def shards_of(tmp_path, **fields):
    """Four finished shards of noise; the fields, and the folder."""
    fields = data(make_zip(tmp_path / "it.zip", count=32), **fields)
    source = open_source(fields)
    for shard in (1, 2, 3, 4):
        encode_shard(source, fields, tmp_path / "out", shard, 4, device="cpu")
    return fields, tmp_path / "out"


def flip_a_bit(place, fields):
    content = bytearray((place / "mean.npy").read_bytes())
    content[-1] ^= 1
    (place / "mean.npy").write_bytes(content)


def cut(place, fields):
    os.truncate(place / "labels.npy", 150)


def lose(place, fields):
    (place / "mean.npy").unlink()


def take_the_neighbour(place, fields):
    shutil.rmtree(place)
    shutil.copytree(place.with_name("3-of-4"), place)


def encode_other_pictures(place, fields):
    shutil.rmtree(place)
    other = fields | {"path": str(make_zip(place.parents[2] / "other.zip", count=33))}
    encode_shard(open_source(other), other, place.parents[1], 2, 4)


def encode_otherwise(place, fields):
    shutil.rmtree(place)
    encode_shard(open_source(fields), fields | {"flips": "both"}, place.parents[1], 2, 4)


def unlist(place, fields):
    (place / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (flip_a_bit, "/mean.npy: damaged: must be as it was written"),
        (cut, "/labels.npy: damaged"),
        (lose, "/mean.npy: damaged"),
        (take_the_neighbour, r": pictures is \[16, 24\]: must be \[8, 16\], as the data are now"),
        (encode_other_pictures, ": listing is [0-9a-f]{12}: must be [0-9a-f]{12}, as the data are now"),
        (encode_otherwise, ": flips is both: must be none, as the data are now"),
        (unlist, ": version is None: must be 1"),
    ],
)
def test_a_shard_that_is_not_right_is_named(tmp_path, small_chunks, capsys, spoil, message):
    fields, folder = shards_of(tmp_path)
    place = folder / "shards/2-of-4"
    spoil(place, fields)
    command = ["encode", json.dumps(fields), "--output", str(folder), "--shards", "4"]
    error = one_line(capsys, command)
    assert re.search(f"mpdit encode: {re.escape(str(place))}{message}", error)
    assert f"delete {place} and run again" in error or "delete that folder and run again" in error
    assert len(list((folder / "shards").iterdir())) == 4
    assert leftovers(folder) == ["shards"]
    shutil.rmtree(place)  # as told
    assert main(command) == 0
    encode(open_source(fields), fields, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_shard_of_another_autoencoder_is_named(tmp_path, small_chunks, autoencoder):
    fields, folder = shards_of(tmp_path, autoencoder=autoencoder)
    source, place = open_source(fields), folder / "shards/3-of-4"
    shutil.rmtree(place)
    other = fields | {
        "autoencoder": saved(tmp_path / "other", scaling_factor=0.75, latent_channels=4, layers_per_block=2)
    }
    encode_shard(source, other, folder, 3, 4, device="cpu")
    with pytest.raises(
        UserError, match=rf"{place}: autoencoder is \w{{12}}: must be \w{{12}}, as in .*/1-of-4; delete"
    ):
        encode_in_shards(source, fields, folder, 4)
    shutil.rmtree(place)
    encode_shard(source, fields | {"autoencoder": None}, folder, 3, 4)
    with pytest.raises(UserError, match=f"{place}: autoencoder is none: must be one, as in data.autoencoder; delete"):
        encode_in_shards(source, fields, folder, 4)


def test_an_unmerged_store_keeps_the_one_that_was_there(tmp_path, small_chunks):
    fields, folder = shards_of(tmp_path)
    encode(open_source(DIGITS), DIGITS, folder)
    before = Latents(folder).fingerprint
    flip_a_bit(folder / "shards/4-of-4", fields)
    with pytest.raises(UserError, match="damaged"):
        encode_in_shards(open_source(fields), fields, folder, 4)
    assert Latents(folder).fingerprint == before


def test_a_label_outside_the_range_is_named(tmp_path, small_chunks):
    fields = data(make_zip(tmp_path / "it.zip"))
    source = open_source(fields)
    labels = source.labels.copy()
    labels[5] = 2
    for part in (encode, lambda *rest: encode_in_shards(*rest, 2)):
        with pytest.raises(UserError, match=r"it\.zip: cat/0005\.png: label 2: must be 0 to 1, as there are 2 classes"):
            part(replace(source, labels=labels), fields, tmp_path / "out")


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_part_that_is_none_is_told(tmp_path, capsys, part):
    with pytest.raises(SystemExit):
        main(["encode", json.dumps(DIGITS), "--output", str(tmp_path), "--shard", part])
    assert f"{part}: must be i/N with i from 1 to N, such as 3/8" in capsys.readouterr().err


# Worker processes


def test_workers_keep_the_order_and_stay_bounded(tmp_path, small_chunks, monkeypatch):
    fields = data(make_zip(tmp_path / "it.zip", count=60))
    source, chunks = open_source(fields), encoding.chunks_of(60, 8)
    ahead, submit = [], decoding._submit

    def watched(pool, chunk):
        ahead.append(chunk)
        return submit(pool, chunk)

    monkeypatch.setattr(decoding, "_submit", watched)
    names = []
    for taken, batch in enumerate(decoding.decoded(source, fields, chunks, workers=2), start=1):
        names += [picture.name for picture in batch]
        assert len(ahead) == min(len(chunks), taken + 2 * decoding.AHEAD)
    assert names == list(source.names)
    assert not [child for child in psutil.Process().children() if "resource_tracker" not in str(child.cmdline())]


def test_workers_name_the_first_broken_picture(tmp_path, small_chunks):
    fields = data(make_zip(tmp_path / "it.zip", count=60, broken=(17, 18, 59)))
    with pytest.raises(UserError, match=r"dog/0017|cat/0017"):
        list(decoding.decoded(open_source(fields), fields, encoding.chunks_of(60, 8), workers=2))


@pytest.fixture(scope="module")
def slow_to_decode(tmp_path_factory):
    """A zip of 3,000 times the same large picture."""
    path, picture = tmp_path_factory.mktemp("large") / "it.zip", io.BytesIO()
    Image.linear_gradient("L").resize((900, 900)).convert("RGB").save(picture, "png")
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(3000):
            archive.writestr(f"{'cat' if index < 1000 else 'dog'}/{index:04}.png", picture.getvalue())
    return path


@pytest.fixture
def endless(tmp_path, slow_to_decode):
    """A running `mpdit encode` with two workers, more to do than any test has time for; and its workers."""
    path = slow_to_decode
    fields = data(path, resolution=64)
    save_index(open_source(fields), tmp_path / "out/shards/index.npz")
    command = [sys.executable, "-m", "mpdit", "encode", json.dumps(fields), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--shards", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process, started_workers(process.pid, tmp_path / "out/shards/1-of-2/.mean.npy.part")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def started_workers(parent, part):
    """The two workers of an encoding, once it has written something."""
    deadline = time.monotonic() + 60
    while not part.exists():
        assert psutil.pid_exists(parent) and time.monotonic() < deadline
        time.sleep(0.02)
    workers = [child for child in psutil.Process(parent).children() if "resource_tracker" not in str(child.cmdline())]
    assert len(workers) == 2
    return workers


def gone(workers, within=10):
    _, alive = psutil.wait_procs(workers, timeout=within)
    return not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_it_with_one_line(endless, number):
    process, workers = endless
    os.killpg(process.pid, number)  # as a terminal and a scheduler send it: to all
    _, error = process.communicate(timeout=30)
    assert process.returncode == 75
    assert error == f"mpdit encode: stopped: {number.name} received; finished shards stay; run again to go on\n"
    assert gone(workers)


def test_a_dead_worker_ends_it_with_one_line(endless):
    process, workers = endless
    workers[0].kill()
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert error.startswith("mpdit encode: a worker process died (killed, or short of memory)")
    assert error.count("\n") == 1
    assert gone(workers)


def test_no_worker_outlives_a_killed_encoding(endless):
    process, workers = endless
    process.kill()
    process.wait()
    assert gone(workers)
