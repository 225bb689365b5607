"""Every command of the README and of the documentation, run on a tiny study.

What the README installs and its first two commands are what CI runs.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.projects import ROOT, runs, tiny_study

pytestmark = pytest.mark.nightly

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.DOTALL)]
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS[2:] for line in block.splitlines()]
# Benchmarks run in .ci/nightly; a search for rates in tests/workflow/test_tune.py.
ELSEWHERE = ("pip install", "#", "python benchmarks/", "snakemake --cores all tune", "cp results/rates.csv")
RUN = list(dict.fromkeys(line for line in COMMANDS if line and not line.startswith(ELSEWHERE)))


@pytest.fixture(scope="module")
def project(finished_study, tmp_path_factory) -> Path:
    """The finished study with what the README's commands name: another configuration, a run of another machine."""
    project = shutil.copytree(finished_study.project, tmp_path_factory.mktemp("readme") / "project")
    elsewhere = project / "elsewhere/results/runs"
    elsewhere.mkdir(parents=True)
    moved = runs(project)["E"]
    moved.rename(elsewhere / moved.name)
    table1 = {"model": "DiT-Nano/4", "config": "B", "modulation": "scale_shift", "seed": 0}
    for name in ("other.yaml", "mine.yaml"):
        (project / name).write_text(yaml.safe_dump(tiny_study(experiments={"table1": table1})))
    return project


def test_there_are_commands_to_run():
    assert len(RUN) > 12


@pytest.mark.parametrize("line", sorted(RUN, key=lambda line: not line.startswith("mpdit import")))
def test_it_runs(project, line):
    words = line
    if "--workflow-profile slurm" in line or "gpu=4" in line:
        words += " --dry-run"  # needs a cluster or four GPUs; tests/workflow/test_slurm.py and test_gpus.py have them
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(words, shell=True, cwd=project, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
