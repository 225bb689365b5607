"""Real handwritten digits as a data section and as a small source."""

from dataclasses import replace

import numpy as np

from mpdit.data.archives import DigitReader
from mpdit.data.listing import PictureListing
from mpdit.data.sources import PictureSource, open_source
from mpdit.experiment.parse import parse_data

DIGITS = parse_data({"name": "mnist8", "source": "mnist", "resolution": 8})


def some_digits(count: int) -> PictureSource:
    """`count` of the 5,000 real digits, evenly chosen, so that all classes are among them."""
    source = open_source(DIGITS)
    chosen = np.linspace(0, len(source) - 1, count).astype(int)
    listing = PictureListing(
        source.classes, [source.names[index] for index in chosen], source.labels[chosen],
        {"pixels": source.listing.locations["pixels"][chosen]},
    )  # fmt: skip
    return replace(source, listing=listing, read=DigitReader(source.location, listing))
