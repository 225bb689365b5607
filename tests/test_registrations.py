"""What is registered next to the general parts, and that it can be taken away."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.projects import TINY, make_project

from mpdit import registrations

# Where the package is installed in editable mode, Python would find a deleted part of the copy in the original.
WITHOUT_INSTALLED_PACKAGE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "_EditableFinder"]
"""

OWN_FIGURE = """
from mpdit.rendering import style
from mpdit.rendering.artifacts import read, render
from mpdit.rendering.registry import ARTIFACTS, figure

@figure("states", experiments=(), reads=("runs",), caption="The number of runs in each state.")
def states(data):
    canvas, grid = style.panels(rows=1, columns=1, height=2.5)
    counts = data["runs"]["status"].value_counts()
    grid[0, 0].bar(list(counts.index), counts)
    return canvas

assert list(ARTIFACTS) == ["states"]
render(ARTIFACTS["states"], read(ARTIFACTS["states"], "interim"), "states.png")
"""


def test_without_the_paper_nothing_is_registered_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(registrations, "PAPER", "mpdit.no_such_study")
    registrations.load()


def test_a_missing_dependency_of_the_paper_is_not_mistaken_for_a_missing_paper(monkeypatch, tmp_path):
    (tmp_path / "broken_study.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registrations, "PAPER", "broken_study")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        registrations.load()


# ---------------------------------------------------------------------------------------------------------------------
# A copy of the project without mpdit/paper


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("without_paper"), TINY)
    shutil.rmtree(folder / "mpdit/paper")
    (folder / "sitecustomize.py").write_text(WITHOUT_INSTALLED_PACKAGE)
    return folder


def python(project: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.run([sys.executable, *words], cwd=project, env=environment, capture_output=True, text=True)


def succeed(project: Path, *words: str) -> str:
    done = python(project, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_without_the_paper_nothing_of_it_can_be_rendered(project):
    assert "one of comparisons, the name of the experiment in --data, " in succeed(
        project, "-m", "mpdit", "render", "--help"
    )
    done = python(project, "-m", "mpdit", "render", "table1", "--data", "results", "--output", "table1.csv")
    assert (done.returncode, "table1" in done.stderr) == (2, True)


def test_without_the_paper_a_study_is_aggregated_reported_and_rendered_with_its_own_figures(project):
    printed = succeed(project, "-m", "mpdit", "interim", "config.yaml", "--output", "interim")
    assert "2 runs: 2 not started" in printed
    assert pd.read_csv(project / "interim/runs.csv")["paper_setting"].tolist() == [False, False]
    assert "arXiv" not in (project / "interim/report.html").read_text()
    succeed(project, "-c", OWN_FIGURE)
    assert (project / "states.png").stat().st_size > 1000


@pytest.mark.slow
def test_without_the_paper_a_study_is_planned_and_its_workflow_parses(project):
    assert "2 runs in 1 block" in succeed(project, "-m", "mpdit", "plan")
    dry_run = succeed(project, "-m", "snakemake", "--cores", "2", "--dry-run")
    assert "\nrule train:" in dry_run
    tables = re.findall(r"rule table:\n.*\n +output: results/(\S+).csv", dry_run)
    assert sorted(tables) == ["comparisons", "table1"]  # the latter of the block, which no table claims
    figures = re.findall(r"rule figure:\n.*\n +output: results/figures/(\S+).png", dry_run)
    assert {name.partition("/")[0] for name in figures} <= {"table1"}
