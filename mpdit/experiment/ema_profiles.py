"""Profiles of power-function EMAs of the weights, and the fit of a width that was not tracked.

Source: Karras et al., arXiv 2312.02696 (EDM2), section 3 and appendix C. The average at time t weighs the parameters of
time tau by the profile p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t]. Its relative width, the standard
deviation of p divided by t, is what users choose: at 0.05 the average looks back over about 5 % of the run.

A linear combination of stored averages is the average under the same combination of their profiles. So an average that
was not tracked is reconstructed by fitting its profile with the profiles of the snapshots.
Torch-free, and NumPy is imported inside the functions: Snakemake imports this module each time it parses the workflow.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from ..system.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

WIDEST = 1 / math.sqrt(12)  # gamma = 0, the plain mean over all steps; a wider profile would favor the first steps
LARGEST_RESIDUAL = 0.05  # of a reconstruction that is used, as a share of the profile's L2 norm
FEW_STEPS = 16  # snapshots at so many usually show that a width is within LARGEST_RESIDUAL


# --- Profiles (EDM2, section 3.1 and appendix C.1) ---


def gamma_to_width(gamma: float) -> float:
    """Return the relative width of the profile tau^gamma: sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))."""
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))


def width_to_gamma(width: float) -> float:
    """Return the exponent gamma >= 0 of the profile of relative width `width`; UserError outside (0, 0.2887]."""
    import numpy as np

    if not 0 < width <= WIDEST:
        raise UserError(f"EMA width: {width}: must be above 0 and at most {WIDEST:.4f} (the mean over all steps)")
    inverse = width**-2
    # (gamma + 2)^2 (gamma + 3) = (gamma + 1) / width^2; the largest of its roots is the profile's.
    return max(0.0, float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max()))


# --- Post-hoc reconstruction (EDM2, section 3.2 and appendix C.2) ---


def inner_product(
    gamma_a: "ArrayLike", time_a: "ArrayLike", gamma_b: "ArrayLike", time_b: "ArrayLike"
) -> "NDArray[np.float64]":
    """Return the integral of the product of two profiles in closed form, float64; arguments broadcast.

    (a + 1)(b + 1) / ((a + b + 1) late) * (early / late)^(gamma of the later one): no power can overflow in this form.
    """
    import numpy as np

    gamma_a, time_a, gamma_b, time_b = (np.asarray(v, dtype=np.float64) for v in (gamma_a, time_a, gamma_b, time_b))
    early, late = np.minimum(time_a, time_b), np.maximum(time_a, time_b)
    gamma_late = np.where(time_a > time_b, gamma_a, gamma_b)
    return (gamma_a + 1) * (gamma_b + 1) / ((gamma_a + gamma_b + 1) * late) * (early / late) ** gamma_late


def fit_profile(profiles: Sequence[tuple[int, float]], step: int, width: float) -> tuple["NDArray[np.float64]", float]:
    """Fit the profile (step, width) by a combination of `profiles`, pairs (step, width); return coefficients, residual.

    Least squares in L2 on [0, step], then normalized to sum to one (n coefficients, float64). The residual is the
    L2 distance between the combination and the profile, relative to the profile's norm: the relative error of the
    average of pure noise (parameters that are independent from step to step).
    """
    import numpy as np

    for i, profile in enumerate(profiles):
        if profile == (step, width):
            return np.eye(len(profiles))[i], 0.0
    times = np.array([time for time, _ in profiles], dtype=np.float64)
    gammas = np.array([width_to_gamma(width) for _, width in profiles])
    gamma = width_to_gamma(width)
    norms = np.sqrt(inner_product(gammas, times, gammas, times))
    norm = math.sqrt(inner_product(gamma, step, gamma, step))
    # With profiles scaled to unit norm, the system's condition is 2e5 for 64 times, 1e10 with snapshots a step apart.
    gram = inner_product(gammas[:, None], times[:, None], gammas, times) / np.outer(norms, norms)
    target = inner_product(gammas, times, gamma, step) / (norms * norm)
    scaled = np.linalg.lstsq(gram, target, rcond=1e-13)[0]
    scaled /= (scaled * norm / norms).sum()
    residual = math.sqrt(max(0.0, 1 - 2 * scaled @ target + scaled @ gram @ scaled))
    return scaled * norm / norms, residual


@cache
def reconstruction_residual(widths: tuple[float, ...], steps: tuple[int, ...], width: float) -> float:
    """Relative error with which snapshots of `widths` at each of `steps`, in order, give `width` at the last step.

    Where the snapshots at about FEW_STEPS of the steps are enough, theirs: an upper bound, found quickly.
    """
    every = math.ceil(len(steps) / FEW_STEPS)
    few = fit_profile([(step, tracked) for step in steps[::-1][::every] for tracked in widths], steps[-1], width)[1]
    if every == 1 or few <= LARGEST_RESIDUAL:
        return few
    return fit_profile([(step, tracked) for step in steps for tracked in widths], steps[-1], width)[1]
