"""Whatever a file holds that mpdit reads, it is read or refused in one line: no traceback, no hang, little memory.

Each target gets 500 inputs, the same ones every time; .ci/nightly sets MPDIT_TEST_EFFORT to try 10,000 new ones. A
failure prints the input; once it is mended, test it where the mistake was.
"""

import json
import signal
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import yaml
from helpers.effort import EFFORT
from helpers.limits import spare_memory
from helpers.mutations import damaged, json_files, odd_json
from helpers.packings import PICTURES, data_of, noise_picture, write_parquet, write_tar, write_tar_of_tars, write_zip
from helpers.source_tree import ROOT
from helpers.tiny_runs import make_spec, write_latents
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mpdit.data.latents import Latents
from mpdit.data.sources import open_source, save_index
from mpdit.evaluation.precomputed import read_statistics
from mpdit.evaluation.reference import Reference
from mpdit.evaluation.sample_archive import read_samples, sample_writer
from mpdit.experiment.grid import read_experiment
from mpdit.experiment.records import TrainedRun
from mpdit.experiment.run_spec import RunSpec
from mpdit.experiment.snapshot_files import list_snapshots
from mpdit.system.errors import UserError
from mpdit.training.snapshots import reconstruct, save_snapshot

pytestmark = pytest.mark.slow  # not each of them, but together
INPUTS = 500
LONGEST = 30  # seconds for one input
MEMORY = 3 * 2**30  # bytes beyond those that the tests take; no size that files are made to claim
FEW = {name: PICTURES[name] for name in ("n00/0.JPEG", "n00/1.JPEG", "n01/0.JPEG")}


def inputs(share: int = 1) -> settings:
    """How hard a target is tried; several that share one kind of file have as many inputs together."""
    return settings(
        max_examples=INPUTS * EFFORT // share,
        derandomize=EFFORT == 1,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


fuzzed = inputs()


def fuzz(contents: st.SearchStrategy[bytes], read: Callable[[bytes], None], share: int = 1) -> None:
    """Call `read` with every one of the inputs."""
    inputs(share)(given(contents)(read))()


@contextmanager
def survived(several_mistakes: bool = False) -> Iterator[None]:
    """A context that ends in time, within its memory, and with nothing but a UserError of one line.

    With `several_mistakes` the error may have a line for each.
    """

    def too_long(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"took more than {LONGEST} s")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST)
    try:
        with spare_memory(MEMORY), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError as error:
        lines = str(error).split("\n") if several_mistakes else [str(error)]
        assert all(line.isprintable() and line.strip() for line in lines), repr(str(error))
        assert max(map(len, lines)) < 1000
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


# ---------------------------------------------------------------------------------------------------------------------
# Packings of pictures


def read_all(packing: str, path: Path) -> None:
    """List a source, then read and decode every picture in it; those that cannot be read do not hide the others."""
    source = open_source(data_of(packing, path))
    for index in range(len(source)):
        with suppress(UserError):
            source.picture(index, 8)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> dict[str, list[bytes]]:
    """The bytes of whole files, by kind of source."""
    folder = tmp_path_factory.mktemp("packed")
    stored = write_zip(folder / "stored.zip", FEW, compression=zipfile.ZIP_STORED)
    (with_names,) = write_parquet(folder / "a", FEW, shards=1).iterdir()
    (without,) = write_parquet(folder / "b", FEW, shards=1, class_names=False, rows_per_group=9).iterdir()
    files = {
        "zip": [write_zip(folder / "it.zip", FEW), stored],
        "tar": [write_tar(folder / "it.tar", FEW, folders=["n00"]), write_tar_of_tars(folder / "tars.tar", FEW)],
        "parquet": [with_names, without],
    }
    return {kind: [path.read_bytes() for path in paths] for kind, paths in files.items()}


@pytest.mark.parametrize("packing", ["zip", "tar", "parquet"])
def test_archives(tmp_path, packed, packing):
    def read(content):
        path = tmp_path / f"it.{packing}"
        path.write_bytes(content)
        with survived():
            read_all(packing, path)

    fuzz(damaged(*packed[packing]), read)


NAME_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")


@fuzzed
@given(names=st.lists(st.text(NAME_CHARACTERS, min_size=1, max_size=20), min_size=1, max_size=4))
def test_names_in_archives(tmp_path, names):
    files = {f"{name}.png": b"x" for name in names}
    for packing, write in (("zip", write_zip), ("tar", write_tar)):
        path = tmp_path / f"it.{packing}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that appear twice
            write(path, files)
        with survived():
            read_all(packing, path)


PICTURE_FILES = [noise_picture(0, suffix=suffix) for suffix in ("bmp", "gif", "jpeg", "png", "ppm", "tiff", "webp")]


@fuzzed
@given(damaged(*PICTURE_FILES))
def test_pictures(tmp_path, content):
    (tmp_path / "a").mkdir(exist_ok=True)
    (tmp_path / "a/0.png").write_bytes(content)
    with survived():
        read_all("folder", tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# What a study keeps


@pytest.fixture
def latents(tmp_path) -> Path:
    return write_latents(tmp_path / "latents", count=4, posterior=True)


def test_manifests(latents):
    path = latents / "manifest.json"
    manifest = json.loads(path.read_bytes())
    autoencoder = {"id": "x", "class": "AutoencoderKL", "hash": "0", "scaling_factor": 1.0, "shift_factor": 0.0}

    def read(content):
        path.write_bytes(content)
        with survived():
            Latents(latents).batch(torch.arange(2), torch.Generator())

    fuzz(json_files(manifest, manifest | {"autoencoder": autoencoder}), read)


@pytest.mark.parametrize("name", ["mean.npy", "std.npy", "labels.npy"])
def test_arrays(latents, name):
    def read(content):
        (latents / name).write_bytes(content)
        with survived():
            Latents(latents).batch(torch.arange(2), torch.Generator())

    fuzz(damaged((latents / name).read_bytes()), read, share=3)


SPECS = [make_spec("A").to_json(), make_spec("E", gradient_clip=1.0).to_json()]


@fuzzed
@given(json_files(*SPECS))
@example(b"[" * 100_000)
@example(b'{"run": ' + b"9" * 5000 + b"}")
def test_specs(tmp_path, content):
    (tmp_path / "spec.json").write_bytes(content)
    with survived():
        RunSpec.read(tmp_path / "spec.json")


TRAINED = {
    "run": "x", "status": "trained", "step": 9, "steps": 9, "parameters": 1, "images_per_second": 1.0, "seconds": 1.0,
    "peak_memory_mb": 1.0, "loss": 0.5, "latents": "0", "device": "2 x cpu", "threads": 1, "commit": None,
    "versions": {"torch": "2", "cuda": None},
}  # fmt: skip


@fuzzed
@given(json_files(TRAINED))
def test_outcomes(tmp_path, content):
    (tmp_path / "trained.json").write_bytes(content)
    with survived():
        TrainedRun.read(tmp_path / "trained.json")


@pytest.fixture
def snapshots(tmp_path) -> Path:
    for step in (4, 8):
        for width in (0.05, 0.1, None):
            save_snapshot(tmp_path, step, width, {"weight": torch.ones(2, 3), "gain": torch.ones(1)})
    return tmp_path


@pytest.mark.parametrize("width", ["0.050", "0.100", "plain"])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_snapshots(snapshots, width, is_sealed):
    path = snapshots / f"step-00000008-{width if width == 'plain' else f'width-{width}'}.safetensors"
    if not is_sealed:  # as in version 0.1
        save_file(load_file(path), path)

    def read(content):
        path.write_bytes(content)
        for wanted in (0.05, 0.07, None):
            with survived():
                reconstruct(snapshots, wanted, 8)

    fuzz(damaged(path.read_bytes()), read, share=6)


@fuzzed
@given(st.from_regex(r"step-[0-9]{0,30}(-(plain|width-.{0,30}))?\.safetensors", fullmatch=True))
def test_names_of_snapshots(tmp_path, name):
    path = tmp_path / name.replace("/", "")
    try:
        path.touch()
    except (OSError, ValueError):  # no file can have this name
        reject()
    with survived():
        list_snapshots(tmp_path)
    path.unlink()


@pytest.fixture(scope="module")
def npz_files(tmp_path_factory, packed) -> list[bytes]:
    folder = tmp_path_factory.mktemp("npz")
    with sample_writer(folder / "samples.npz", np.arange(2)) as append:
        append(np.zeros((2, 4, 4, 3), np.uint8))
    np.savez_compressed(folder / "statistics.npz", mu=np.zeros(3), sigma=np.eye(3))
    floor = {"fid_floor": np.nan, "kid_floor": np.nan, "floor_count": np.nan}
    words = {"name": "x", "hash": "0", "features": "inception", "features_hash": "0", "count": np.nan}
    np.savez(folder / "reference.npz", **words, **floor, mu=np.zeros(3), sigma=np.eye(3), rows=np.zeros((0, 3)))
    (folder / "it.zip").write_bytes(packed["zip"][0])
    save_index(open_source(data_of("zip", folder / "it.zip")), folder / "index.npz")
    return [path.read_bytes() for path in sorted(folder.glob("*.npz"))]


def test_npz(tmp_path, npz_files, packed):
    path, archive = tmp_path / "it.npz", tmp_path / "it.zip"
    archive.write_bytes(packed["zip"][0])
    readers: list[Callable[[], Any]] = [
        lambda: read_samples(path),
        lambda: Reference.load(path),
        lambda: read_statistics(path, 3),
        lambda: open_source(data_of("zip", archive), index=path),
    ]

    def read(content):
        path.write_bytes(content)
        for reader in readers:
            with survived():
                reader()

    fuzz(damaged(*npz_files), read)


# ---------------------------------------------------------------------------------------------------------------------
# What users write

CONFIGURATION = {
    "data": {"name": "mnist8", "source": "mnist", "resolution": 8, "holdout": 20},
    "training": {"steps": 100, "batch_size": 128, "snapshots": 4, "betas": [0.9, 0.99]},
    "sampling": {"steps": 50, "count": 1000, "ema_width": [0.05, None], "step": 100},
    "scoring": {"features": "efficientnet-lite0"},
    "claims": {"primary": []},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0, 1]},
        "more": {"model": ["DiT-Nano/2"], "config": "E", "modulation": "scale", "lr": [0.1], "seed": 0,
                 "training": {"steps": 50, "snapshots": 2}},
    },
}  # fmt: skip


def yaml_file(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


YAML_FILES = st.one_of(
    odd_json(CONFIGURATION).map(yaml_file), damaged(yaml_file(CONFIGURATION), (ROOT / "config.yaml").read_bytes())
)


@fuzzed
@given(YAML_FILES)
@example(b"[" * 100_000)
@example(b"data: &data {name: *data}")
@example(b"data: !!python/object/apply:os.system [id]")
def test_configurations(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with survived(several_mistakes=True):
        read_experiment(tmp_path / "config.yaml")
