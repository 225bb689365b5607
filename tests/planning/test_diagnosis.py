"""Every fault of a machine that the doctor knows, simulated: its level, and that the line says what to do."""

import os

import pytest
from helpers.projects import TINY

from mpdit.experiment.grid import Experiment
from mpdit.planning import diagnosis
from mpdit.planning.diagnosis import Driver, TorchBuild

H100 = ("NVIDIA H100",)


def study(**sections) -> Experiment:
    return Experiment({**TINY, **sections})


@pytest.mark.parametrize(
    ("version", "platform", "level", "words"),
    [
        ((3, 11), "linux", "ok", "Python 3.11 on linux"),
        ((3, 14), "linux", "note", "tested are 3.11 to 3.13"),
        ((3, 12), "win32", "problem", "use WSL 2"),
        ((3, 12), "darwin", "problem", "only Linux is supported"),
    ],
)
def test_python_and_the_operating_system(version, platform, level, words):
    finding = diagnosis.python_finding(version, platform)
    assert finding.level == level and words in finding.text


@pytest.mark.parametrize(
    ("build", "driver", "device", "level", "words"),
    [
        (TorchBuild("2.14", "13.0", H100), Driver("580", H100), "auto", "ok", "NVIDIA H100"),
        (TorchBuild("2.14", "13.0", H100), Driver("580", H100 * 4), "auto", "note", "uses 1 of 4 GPUs; is CUDA_"),
        (TorchBuild("2.14", "13.0", ()), Driver("470", H100), "auto", "problem", "the driver is 470; update"),
        (TorchBuild("2.14+cpu", None, ()), Driver("580", H100), "auto", "problem", "a build for the CPU; install one"),
        (TorchBuild("2.14", "13.0", ()), None, "cuda", "problem", "execution.device is cuda and there is no"),
        (TorchBuild("2.14", None, (), mps=True), None, "auto", "note", "Apple's GPU is not used"),
        (TorchBuild("2.14", "13.0", ()), None, "auto", "ok", "runs on the CPU"),
    ],
)  # fmt: skip
def test_torch_against_the_driver_and_the_device_asked_for(build, driver, device, level, words):
    finding = diagnosis.torch_finding(build, driver, device)
    assert finding.level == level and words in finding.text


@pytest.mark.parametrize(
    ("cores", "threads", "variable", "level", "words"),
    [
        (8, 2, None, "ok", "4 runs side by side"),
        (1, 1, "1", "ok", "1 core, 1 per run"),
        (2, 4, None, "problem", "execution.threads is 4; set it to 2 at most"),
        (2, 1, "16", "note", "OMP_NUM_THREADS is 16"),
    ],
)
def test_cores_against_threads(cores, threads, variable, level, words):
    finding = diagnosis.cores_finding(cores, threads, variable)
    assert finding.level == level and words in finding.text


def test_the_driver_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '470.82.01, NVIDIA H100\\n470.82.01, NVIDIA H100\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert diagnosis.nvidia_driver() == Driver("470.82.01", H100 * 2)
    program.write_text("#!/bin/sh\nexit 9\n")
    assert diagnosis.nvidia_driver() is None


def test_results_that_cannot_be_written_and_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    (ok,) = diagnosis.results_findings(tmp_path / "new/results")
    assert ok.level in ("ok", "note") and "can be written" in ok.text
    monkeypatch.setattr(diagnosis, "LITTLE_SPACE", 2**80)
    (nearly_full,) = diagnosis.results_findings(tmp_path)
    assert nearly_full.level == "note"
    (tmp_path / "results").write_text("a file, not a folder")
    (problem,) = diagnosis.results_findings(tmp_path / "results")
    assert problem.level == "problem" and "cannot be written" in problem.text


@pytest.mark.parametrize(
    ("commands", "executor", "level", "words"),
    [
        ([], True, "ok", "no SLURM here"),
        (["sbatch", "squeue", "scancel"], True, "ok", "--workflow-profile"),
        (["sbatch"], True, "problem", "squeue, scancel not found"),
        (["sbatch", "squeue", "scancel"], False, "note", "pip install 'mpdit[slurm]'"),
    ],
)
def test_slurm(commands, executor, level, words):
    finding = diagnosis.slurm_finding(commands, executor)
    assert finding.level == level and words in finding.text


def test_pictures_that_are_not_there(tmp_path):
    folder = tmp_path / "pictures"
    data = {**TINY["data"], "source": "folder", "path": str(folder)}
    (missing,) = diagnosis.source_findings(study(data=data))
    assert missing.level == "problem" and f"data.path: {folder}: no such file" in missing.text
    folder.mkdir()
    (there,) = diagnosis.source_findings(study(data=data))
    assert there.level == "ok"


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "_hub_folder", lambda: tmp_path)
    inception = {"features": "inception", "weights": None}
    (to_download,) = diagnosis.weights_findings(study(scoring=inception))
    assert to_download.level == "note" and "downloaded when first needed" in to_download.text
    path = tmp_path / "weights.pth"
    (missing,) = diagnosis.weights_findings(study(scoring={**inception, "weights": str(path)}))
    assert missing.level == "problem" and "no such file; expected a copy of" in missing.text
    path.touch()
    (there,) = diagnosis.weights_findings(study(scoring={**inception, "weights": str(path)}))
    assert there.level == "ok"
    data = {**TINY["data"], "autoencoder": "nobody/no-such-autoencoder"}
    (autoencoder,) = diagnosis.weights_findings(study(data=data))
    assert autoencoder.level == "note" and "give a local folder" in autoencoder.text
