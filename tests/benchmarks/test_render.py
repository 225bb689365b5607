"""The made-up studies of `benchmarks/render.py` are rendered whole, without a warning: one seed, and 400 runs."""

import importlib.util
from pathlib import Path

import pytest

from mpdit import paper

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "render.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("render_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(benchmark, experiment, folder) -> None:
    places = benchmark.make_up(experiment, folder)
    took = benchmark.render(places, folder)
    assert set(took) == set(paper.goals(experiment.blocks))
    for name in took:
        for suffix in paper.ARTEFACTS[name].suffixes:
            assert (folder / "rendered" / f"{name}{suffix}").stat().st_size > 0


def test_a_study_of_one_seed_is_rendered(benchmark, tmp_path):
    check(benchmark, benchmark.study(["DiT-Nano/4"], [0], 4000), tmp_path)


@pytest.mark.slow
def test_a_study_of_400_runs_is_rendered(benchmark, tmp_path):
    experiment = benchmark.study()
    assert len(experiment.runs) == 400
    check(benchmark, experiment, tmp_path)
