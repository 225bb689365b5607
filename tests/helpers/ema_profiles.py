"""The exact weights of a power-function EMA."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpdit.experiment.ema_profiles import width_to_gamma


def closed_form(ends: Sequence[int], width: float) -> NDArray[np.float64]:
    """Weights that the profile at `ends[-1]` gives to the intervals (ends[k-1], ends[k]]; they sum to one."""
    power = width_to_gamma(width) + 1
    return np.diff((np.array([0, *ends], dtype=np.float64) / ends[-1]) ** power)
