"""What tests share: real pictures beside the project, tiny latents of real digits, a tiny finished study."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.projects import FinishedStudy, finish_study
from helpers.shared_folders import made_once

from mpdit import registrations
from mpdit.experiment.study_file import registered, take_back

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a background job, and all that tests start would ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# There is one process per core: more threads of NumPy and torch would only wait for one another. The variable is read
# when they are imported, which nothing above does.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the project; tests that need it are skipped where it is missing."""
    folder = Path(__file__).parents[1] / "../shared/data"
    if not folder.is_dir():
        pytest.skip("../shared/data (real CIFAR-10 and ImageNet pictures) is not beside the project")
    return folder.resolve()


@pytest.fixture(scope="session")
def tiny_latents(tmp_path_factory) -> Path:
    """A latents folder of 64 real digits at 8x8, all ten classes among them. Not to be changed."""
    from helpers.digits import DIGITS, some_digits

    from mpdit.data.encode import encode

    return made_once(tmp_path_factory, "mnist8", lambda folder: encode(some_digits(64), DIGITS, folder))


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory) -> FinishedStudy:
    """A project in which `snakemake results/table1.csv` has ended: Config A and E on real digits. Not to be changed."""
    return FinishedStudy(made_once(tmp_path_factory, "finished-study", finish_study))


@pytest.fixture
def study_copy(finished_study, tmp_path) -> Path:
    """A copy of the finished study's project, to change at will."""
    return shutil.copytree(finished_study.project, tmp_path / "project", symlinks=True)


@pytest.fixture
def registries() -> Iterator[None]:
    """The registries, to add to: after the test they hold what they held before."""
    registrations.load()
    before = registered()
    yield
    take_back(before)


# Begun first, longest first, so that no process works on one of them while the others have nothing left to do.
LONG_FILES = ("tests/workflow/test_slurm.py", "tests/workflow/test_workflow.py", "tests/model/test_precision.py")


def pytest_collection_modifyitems(config, items):
    """Mark slow whatever needs the finished study, which takes half a minute to make; leave nightly tests out."""
    for item in items:
        if "finished_study" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    if "nightly" not in config.option.markexpr:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("nightly")])
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    order = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))
