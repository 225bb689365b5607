"""The made-up studies of `benchmarks/render.py` are rendered completely, without a warning: one seed, and 400 runs."""

import importlib.util
from pathlib import Path

import pytest

from mpdit.rendering.registry import ARTIFACTS, goals

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "render.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("render_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(benchmark, experiment, folder) -> None:
    folders = benchmark.make_up(experiment, folder)
    seconds = benchmark.render_all(folders, folder)
    assert set(seconds) == set(goals(experiment.blocks))
    for name in seconds:
        for suffix in ARTIFACTS[name].suffixes:
            assert (folder / "rendered" / f"{name}{suffix}").stat().st_size > 0


@pytest.mark.slow
def test_a_study_of_one_seed_is_rendered(benchmark, tmp_path):
    check(benchmark, benchmark.study(["DiT-Nano/4"], [0], 4000), tmp_path)


@pytest.mark.slow
def test_a_study_of_400_runs_is_rendered(benchmark, tmp_path):
    experiment = benchmark.study()
    assert len(experiment.runs) == 400
    check(benchmark, experiment, tmp_path)
