"""What tests share: real data beside the project, and a tiny latent store of real digits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpdit.experiment import check_data
from mpdit.images import Source, open_source
from mpdit.sources import DigitReader, Listing
from mpdit.stages.encode import encode

DIGITS = check_data({"name": "mnist8", "source": "mnist", "resolution": 8})


def some_digits(count: int) -> Source:
    """`count` of the 5,000 real digits, evenly chosen, so that all classes are among them."""
    source = open_source(DIGITS)
    chosen = np.linspace(0, len(source) - 1, count).astype(int)
    names, labels = [source.names[index] for index in chosen], source.labels[chosen]
    pixels = {"pixels": source.read.listing.places["pixels"][chosen]}
    return replace(
        source, names=names, labels=labels, read=DigitReader(None, Listing(source.classes, names, labels, pixels))
    )


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
