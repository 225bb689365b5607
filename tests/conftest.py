"""What tests share: real data beside the project, and a tiny latent store of real digits."""

from pathlib import Path

import pytest
from helpers.digits import DIGITS, some_digits

from mpdit.commands.encode import encode


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures that lies beside the project; tests that need it are skipped where it is missing."""
    folder = Path(__file__).parents[1] / "../shared/data"
    if not folder.is_dir():
        pytest.skip("../shared/data (real CIFAR-10 and ImageNet pictures) is not beside the project")
    return folder.resolve()


@pytest.fixture(scope="session")
def tiny_latents(tmp_path_factory) -> Path:
    """The folder of a latent store: 64 real digits at 8x8, all ten classes among them. Not to be changed."""
    folder = tmp_path_factory.mktemp("latents") / "mnist8"
    encode(some_digits(64), DIGITS, folder)
    return folder
