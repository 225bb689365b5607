"""Whether a machine has what a study needs: one finding per requirement, each with what to do about it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..experiment.grid import Experiment
from ..system.console import with_si_prefix

PYTHONS = ((3, 11), (3, 13))  # oldest and newest that are tested
LITTLE_SPACE = 10 * 2**30  # bytes
SLURM_COMMANDS = ("sbatch", "squeue", "scancel")  # sacct is optional: the executor falls back on squeue


@dataclass(frozen=True)
class Finding:
    """What is the case, and what to do about it where it is a problem."""

    level: Literal["ok", "note", "problem"]  # a note limits something that this study may not need
    text: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.text}"


@dataclass(frozen=True)
class TorchBuild:
    """What torch says about itself and the GPUs it sees."""

    version: str
    cuda: str | None  # CUDA version that it was built for; None: a build for the CPU
    gpus: tuple[str, ...]  # names of those that it can use
    mps: bool = False  # whether it can use Apple's GPU


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says."""

    version: str
    gpus: tuple[str, ...]


def examine(experiment: Experiment | None, results: Path) -> Iterator[Finding]:
    """All findings about this machine, and about what the configuration asks of it where one is given."""
    yield python_finding(sys.version_info[:2], sys.platform)
    yield torch_finding(torch_build(), nvidia_driver(), experiment.execution.device if experiment else "auto")
    threads = experiment.execution.threads if experiment else 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield cores_finding(cores, threads, os.environ.get("OMP_NUM_THREADS"))
    yield from results_findings(results)
    yield slurm_finding([name for name in SLURM_COMMANDS if shutil.which(name)], _has_executor())
    if experiment is not None:
        yield from source_findings(experiment)
        yield from weights_findings(experiment)


def python_finding(version: tuple[int, ...], platform: str) -> Finding:
    """Of the interpreter and the operating system."""
    name = f"Python {'.'.join(map(str, version))} on {platform}"
    if platform != "linux":
        return Finding("problem", f"{name}: only Linux is supported (on Windows: use WSL 2)")
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        oldest, newest = (".".join(map(str, bound)) for bound in PYTHONS)
        return Finding("note", f"{name}: tested are {oldest} to {newest}")
    return Finding("ok", name)


def torch_build() -> TorchBuild:
    """Of the torch that is installed here."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = tuple(torch.cuda.get_device_name(index) for index in range(count))
    return TorchBuild(torch.__version__, torch.version.cuda, names, torch.backends.mps.is_available())


def nvidia_driver() -> Driver | None:
    """The driver and GPUs that nvidia-smi lists; None where it is missing or fails."""
    words = ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        printed = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split(", ", 1) for line in printed.splitlines() if ", " in line]
    return Driver(rows[0][0], tuple(name for _, name in rows)) if rows else None


def torch_finding(build: TorchBuild, driver: Driver | None, device: str) -> Finding:
    """Of torch against the driver, and of the device that the configuration asks for."""
    name = f"torch {build.version}"
    if build.gpus:
        unseen = len(driver.gpus) - len(build.gpus) if driver else 0
        if unseen > 0:
            hidden = "is CUDA_VISIBLE_DEVICES set?"
            return Finding(
                "note", f"{name}: uses {len(build.gpus)} of {len(driver.gpus if driver else ())} GPUs; {hidden}"
            )
        return Finding("ok", f"{name}: {', '.join(build.gpus)}")
    if driver is not None:
        gpus = f"{len(driver.gpus)} GPUs" if len(driver.gpus) > 1 else driver.gpus[0]
        if build.cuda is None:
            remedy = "it is a build for the CPU; install one for CUDA (pytorch.org/get-started)"
        else:
            remedy = (
                f"it is built for CUDA {build.cuda}, the driver is {driver.version}; update the driver, install a "
                "torch for an older CUDA (pytorch.org/get-started), or unset CUDA_VISIBLE_DEVICES if it is empty"
            )
        return Finding("problem", f"{name}: cannot use {gpus}, so everything would run on the CPU: {remedy}")
    if device == "cuda":
        return Finding("problem", f"{name}: execution.device is cuda and there is no NVIDIA GPU; set it to auto or cpu")
    if build.mps:
        return Finding(
            "note", f"{name}: Apple's GPU is not used (float64 and CUDA graphs are missing there); runs on the CPU"
        )
    return Finding("ok", f"{name}: no GPU, runs on the CPU")


def cores_finding(cores: int, threads: int, variable: str | None) -> Finding:
    """Of the cores that this process may use against the threads of each run."""
    name = f"{cores} core" if cores == 1 else f"{cores} cores"
    if threads > cores:
        return Finding("problem", f"{name}: execution.threads is {threads}; set it to {cores} at most")
    if variable is not None and variable.isdigit() and int(variable) > cores:
        return Finding("note", f"{name}: OMP_NUM_THREADS is {variable}, more than there are: everything becomes slower")
    return Finding("ok", f"{name}, {threads} per run: {cores // threads} runs side by side with --cores all")


def results_findings(results: Path) -> Iterator[Finding]:
    """Of the folder of results: whether it can be written, and the space that is left there."""
    folder = results
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "problem", f"{results}: {folder} cannot be written; choose another folder or correct its permissions"
        )
        return
    free = shutil.disk_usage(folder).free
    level: Literal["ok", "note"] = "note" if free < LITTLE_SPACE else "ok"
    yield Finding(level, f"{results}: can be written, {with_si_prefix(free)}B free; mpdit plan says what a study takes")


def slurm_finding(commands: list[str], has_executor: bool) -> Finding:
    """Of SLURM's commands and Snakemake's plugin for it."""
    if not commands:
        return Finding("ok", "no SLURM here: runs on this machine")
    missing = [name for name in SLURM_COMMANDS if name not in commands]
    if missing:
        return Finding(
            "problem", f"SLURM: {', '.join(missing)} not found; jobs are submitted from a login node that has them"
        )
    if not has_executor:
        return Finding("note", "SLURM: Snakemake's plugin is missing; pip install 'mpdit[slurm]'")
    return Finding("ok", "SLURM: snakemake --workflow-profile slurm submits jobs")


def source_findings(experiment: Experiment) -> Iterator[Finding]:
    """Of the pictures that the configuration names."""
    import glob

    data = experiment.data
    paths = {"data.path": data.path, "data.holdout": data.holdout, "scoring.reference": experiment.scoring.reference}
    for field, path in paths.items():
        if not isinstance(path, str):
            continue
        if Path(path).exists() or glob.glob(path):
            yield Finding("ok", f"{field}: {path}")
        else:
            yield Finding("problem", f"{field}: {path}: no such file or folder; paths are relative to {Path.cwd()}")


def weights_findings(experiment: Experiment) -> Iterator[Finding]:
    """Of the weights of networks that do not come with the package: Inception's and an autoencoder's."""
    if experiment.scoring.features == "inception":
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

        given = experiment.scoring.weights
        cached = _hub_folder() / Path(URL_INCEPTION_V3).name
        if given is not None and not Path(given).is_file():
            yield Finding("problem", f"scoring.weights: {given}: no such file; expected a copy of {URL_INCEPTION_V3}")
        elif given is not None or cached.is_file():
            yield Finding("ok", f"Inception's weights: {given or cached}")
        else:
            yield Finding(
                "note",
                "Inception's weights: downloaded when first needed, or set scoring.weights to a copy of "
                f"{URL_INCEPTION_V3}",
            )
    autoencoder = experiment.data.autoencoder
    if autoencoder is not None:
        if Path(autoencoder).is_dir():
            yield Finding("ok", f"data.autoencoder: {autoencoder}")
        elif _is_cached(autoencoder):
            yield Finding("ok", f"data.autoencoder: {autoencoder}, in the hub's cache")
        else:
            yield Finding(
                "note",
                f"data.autoencoder: {autoencoder}: downloaded when first needed; without network, give a local folder",
            )


def _hub_folder() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _is_cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, "config.json"), str)


def _has_executor() -> bool:
    from importlib.util import find_spec

    return find_spec("snakemake_executor_plugin_slurm") is not None
