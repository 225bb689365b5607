"""`mpdit encode` on the command line: its messages, its exit statuses, and how it ends when it is stopped."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import psutil
import pytest
from helpers.digits import DIGITS
from helpers.made_up_runs import outcome
from helpers.picture_zips import write_noise_zip, zip_data
from helpers.tiny_runs import make_spec
from PIL import Image

from mpdit.__main__ import main
from mpdit.data.latents import Latents
from mpdit.data.sources import open_source, save_index
from mpdit.experiment.known_source import KnownSource, path_state, read_known
from mpdit.experiment.run_spec import DataIdentity


def test_a_data_section_in_a_file_is_encoded(tmp_path, capsys):
    (tmp_path / "data.json").write_text(json.dumps({"name": "d", "source": "mnist", "resolution": 8}))
    assert main(["encode", str(tmp_path / "data.json"), "--output", str(tmp_path / "out")]) == 0
    assert "encode: 5,000 images of 10 classes as (1, 8, 8) uint8 in" in capsys.readouterr().out
    assert Latents(tmp_path / "out").count == 5000


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nowhere.json", "nowhere.json: no such file"),
        ('{"name": ', "DATA_JSON: not valid JSON"),
        ('{"name": "d", "source": "mnist", "resolution": 8, "size": 3}', "data: unknown key 'size'"),
    ],
)
def test_a_mistake_in_the_data_section_is_one_line(tmp_path, capsys, argument, message):
    assert main(["encode", argument, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mpdit encode: {message}") and error.count("\n") == 1


def test_which_pictures_are_encoded_is_recorded_and_others_are_refused_before_anything_is_encoded(tmp_path, capsys):
    out, known = tmp_path / "out", tmp_path / "sources/x.json"
    data = zip_data(write_noise_zip(tmp_path / "a.zip"))
    arguments = ["encode", data.model_dump_json(), "--output", str(out), "--known", str(known)]
    assert main(arguments) == 0
    listing = json.loads((out / "manifest.json").read_text())["source"]["listing"]
    states = {data.path: path_state(data.path)}
    assert read_known(known) == KnownSource(listing, states)
    shutil.rmtree(out)
    write_noise_zip(tmp_path / "a.zip", count=14)
    for options in ([], ["--list"], ["--shards", "2"]):
        assert main([*arguments, *options]) == 2
        assert f"data.path: {data.path}: holds other pictures" in capsys.readouterr().err
    assert not out.exists()


def test_latents_that_no_run_here_was_trained_on_are_not_left(tmp_path, capsys):
    data = zip_data(write_noise_zip(tmp_path / "a.zip"))
    spec = replace(make_spec(), data=DataIdentity.of(data))
    folder = tmp_path / "runs" / spec.name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(spec.to_json()))
    (folder / "trained.json").write_text(json.dumps(outcome(spec.name) | {"step": 12}))
    out = tmp_path / spec.data.folder_name
    arguments = ["encode", data.model_dump_json(), "--output", str(out), "--runs", str(tmp_path / "runs")]
    for options in ([], ["--shards", "2"]):
        assert main([*arguments, *options]) == 2
        assert f"are not those that {folder} was trained on, {'ab' * 6}" in capsys.readouterr().err
        assert not list(out.glob("*.npy")) and not (out / "manifest.json").exists()
    assert main([*arguments[:3], str(tmp_path / "of-other-data"), *arguments[4:]]) == 0


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_wrong_shard_is_an_error_that_shows_the_form(tmp_path, capsys, shard):
    with pytest.raises(SystemExit):
        main(["encode", DIGITS.model_dump_json(), "--output", str(tmp_path), "--shard", shard])
    assert f"expected i/N with i from 1 to N, such as 3/8, got '{shard}'" in capsys.readouterr().err


def test_pixels_are_encoded_without_loading_torch(tmp_path):
    code = (
        "import sys; from mpdit.__main__ import main; "
        f"main(['encode', {DIGITS.model_dump_json()!r}, '--output', {str(tmp_path)!r}]); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


# Stopped


@pytest.fixture(scope="module")
def large_pictures(tmp_path_factory):
    """A zip of the same large picture 3,000 times."""
    path, picture = tmp_path_factory.mktemp("large") / "it.zip", io.BytesIO()
    Image.linear_gradient("L").resize((900, 900)).convert("RGB").save(picture, "png")
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(3000):
            archive.writestr(f"{'cat' if index < 1000 else 'dog'}/{index:04}.png", picture.getvalue())
    return path


@pytest.fixture
def running_encode(tmp_path, large_pictures):
    """A running `mpdit encode` that no test has the time to see finished, and its two workers."""
    data = zip_data(large_pictures, resolution=64)
    save_index(open_source(data), tmp_path / "out/shards/index.npz")
    command = [sys.executable, "-m", "mpdit", "encode", data.model_dump_json(), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--shards", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process, workers_of(process.pid, tmp_path / "out/shards/1-of-2/.mean.npy.part")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def workers_of(pid, part):
    """The two workers of an encoding, once it has written something."""
    deadline = time.monotonic() + 60
    while not part.exists():
        assert psutil.pid_exists(pid) and time.monotonic() < deadline
        time.sleep(0.02)
    workers = [child for child in psutil.Process(pid).children() if "resource_tracker" not in str(child.cmdline())]
    assert len(workers) == 2
    return workers


def end_soon(workers, within=10):
    _, alive = psutil.wait_procs(workers, timeout=within)
    return not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_it_with_one_line(running_encode, number):
    process, workers = running_encode
    os.killpg(process.pid, number)  # to all processes, as terminals and schedulers send it
    _, error = process.communicate(timeout=30)
    assert process.returncode == 75
    assert error == f"mpdit encode: stopped: {number.name} received; finished shards are kept; run again to continue\n"
    assert end_soon(workers)


def test_a_dead_worker_ends_it_with_one_line(running_encode):
    process, workers = running_encode
    workers[0].kill()
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert error.startswith("mpdit encode: a worker process died (killed, or out of memory)")
    assert error.count("\n") == 1
    assert end_soon(workers)


def test_workers_that_die_while_they_hand_over_pictures_end_it_with_one_line(running_encode):
    process, workers = running_encode
    process.send_signal(signal.SIGSTOP)  # nobody reads now, and a chunk exceeds what a pipe holds
    time.sleep(1)
    for worker in workers:
        worker.kill()
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert error.startswith("mpdit encode: a worker process died (killed, or out of memory)")
    assert error.count("\n") == 1


def test_no_worker_outlives_a_killed_encoding(running_encode):
    process, workers = running_encode
    process.kill()
    process.wait()
    assert end_soon(workers)
