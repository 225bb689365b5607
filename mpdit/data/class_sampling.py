"""Choosing some pictures of each class, evenly spaced within the class."""

import numpy as np
from numpy.typing import NDArray


def ranks_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of each picture among those of its class, in order, from 0: (N,) int64 for labels (N,)."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])  # where each picture's class begins
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - starts
    return ranks


def evenly_spaced_in_class(labels: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of `counts[c]` pictures of every class c, evenly spaced within the class; ascending.

    Of n pictures, `counts` of them are those whose ranks are the centers of as many equal intervals of [0, n). Raises
    ValueError for a class with fewer pictures than are asked for.
    """
    sizes = np.bincount(labels, minlength=len(counts))
    if (sizes < counts).any():
        raise ValueError(f"classes of {sizes.tolist()} pictures: cannot choose {counts.tolist()} of them")
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    chosen = [
        members[(2 * np.arange(count) + 1) * len(members) // (2 * count)]
        for members, count in zip(by_class, counts.tolist(), strict=True)
        if count
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)
