"""Tiny latents, and one tiny run that is trained without interruption, for all tests of training."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import make_spec, train_in, write_latents


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Compute with one thread: sums are then always added in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def latents(tmp_path_factory) -> Path:
    """The folder of 50 random latents with a posterior."""
    return write_latents(tmp_path_factory.mktemp("data") / "latents", posterior=True)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, latents) -> Path:
    """The folder of the run `make_spec()`, trained without interruption. Not to be changed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert train_in(folder, make_spec(), latents) == 0
    torch.set_num_threads(threads)
    return folder
