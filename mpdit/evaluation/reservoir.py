"""A uniform sample of a stream."""

import numpy as np
from numpy.typing import NDArray


class Reservoir:
    """A uniform sample without replacement of a stream of rows (Algorithm R; Vitter 1985), held in memory."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.rows: list[NDArray[np.float32]] = []
        self.seen = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Offer rows (N, D). The rows that are kept in the end do not depend on how the stream is cut into batches."""
        for row in rows:
            self.seen += 1
            if len(self.rows) < self.size:
                self.rows.append(row.copy())
            elif (slot := int(self.rng.integers(self.seen))) < self.size:
                self.rows[slot] = row.copy()

    def shuffled(self) -> NDArray[np.float32]:
        """The kept rows (min(size, seen), D) in random order, so that its first n rows are a uniform sample, too."""
        return np.stack([self.rows[i] for i in self.rng.permutation(len(self.rows))])
