"""Real handwritten digits as a data section and as a small source."""

from dataclasses import replace

import numpy as np

from mpdit.data.archives import DigitReader, Listing
from mpdit.data.pictures import Source, open_source
from mpdit.experiment.grid import check_data

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
