"""Power-function EMAs of the weights: their profiles, tracking during training, and the fit of a width not tracked.

Source: Karras et al., arXiv 2312.02696 (EDM2), section 3 and appendix C. The average at time t weighs the parameters of
time tau by the profile p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t]. Its relative width, the standard
deviation of p divided by t, is what users choose: at 0.05 the average looks back over about 5 % of the run.

A linear combination of stored averages is the average under the same combination of their profiles. So an average that
was not tracked is reconstructed by fitting its profile with the profiles of the snapshots (see `snapshots`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..system.errors import UserError

WIDEST = 1 / math.sqrt(12)  # gamma = 0, the plain mean over all steps; a wider profile would favor the first steps


# --- Profiles (EDM2, section 3.1 and appendix C.1) ---


def gamma_to_width(gamma: float) -> float:
    """Return the relative width of the profile tau^gamma: sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))."""
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))


def width_to_gamma(width: float) -> float:
    """Return the exponent gamma >= 0 of the profile of relative width `width`; UserError outside (0, 0.2887]."""
    if not 0 < width <= WIDEST:
        raise UserError(f"EMA width: {width}: must be above 0 and at most {WIDEST:.4f} (the mean over all steps)")
    inverse = width**-2
    # (gamma + 2)^2 (gamma + 3) = (gamma + 1) / width^2; the largest of its roots is the profile's.
    return max(0.0, float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max()))


def beta(step: int, dt: int, gamma: float) -> float:
    """Return the weight of the old average in an update at `step` that covers `dt` steps: (1 - dt/step)^(gamma + 1).

    With `average <- beta average + (1 - beta) weights`, the weights held over (step - dt, step] get exactly the
    integral of the continuous profile over that interval, whatever the earlier intervals were.
    """
    if not 0 < dt <= step:
        raise ValueError(f"dt {dt} at step {step}: must be at least 1 and at most the step")
    return (1 - dt / step) ** (gamma + 1)


# --- Tracking ---


class PowerEMA:
    """Averages of `parameters` (name -> tensor, which the optimizer changes in place), one per relative width.

    `averages[width][name]` are float32 tensors on the parameters' device. The first update, whose interval begins at
    step 0, overwrites their initial values.
    """

    def __init__(self, parameters: Mapping[str, Tensor], widths: Sequence[float]):
        self.gammas = {width: width_to_gamma(width) for width in widths}
        self._parameters = [parameter.detach() for parameter in parameters.values()]  # views: they follow the training
        self.averages = {
            width: {name: parameter.detach().clone() for name, parameter in parameters.items()} for width in widths
        }

    @torch.no_grad()
    def update(self, step: int, dt: int = 1) -> None:
        """Add the parameters after `step` steps, `dt` steps after the last update. Never waits for the device."""
        for width, gamma in self.gammas.items():
            keep = beta(step, dt, gamma)
            torch._foreach_lerp_(list(self.averages[width].values()), self._parameters, 1 - keep)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages (no copies) as {"0.05/blocks.0.mlp.weight": tensor, ...}, for a checkpoint."""
        return {f"{width}/{name}": tensor for width, named in self.averages.items() for name, tensor in named.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state_dict` into the averages. UserError when its widths or names differ from theirs."""
        own = self.state_dict()
        if own.keys() != state.keys():
            name = sorted(own.keys() ^ state.keys())[0]
            where = "missing from the checkpoint" if name in own else "unknown to this run"
            raise UserError(f"EMA state: {name!r} is {where}: widths and parameters must be the same in both")
        for name, tensor in own.items():
            tensor.copy_(state[name])


# --- Post-hoc reconstruction (EDM2, section 3.2 and appendix C.2) ---


def inner_product(gamma_a: ArrayLike, time_a: ArrayLike, gamma_b: ArrayLike, time_b: ArrayLike) -> NDArray[np.float64]:
    """Return the integral of the product of two profiles in closed form, float64; arguments broadcast.

    (a + 1)(b + 1) / ((a + b + 1) late) * (early / late)^(gamma of the later one): no power can overflow in this form.
    """
    gamma_a, time_a, gamma_b, time_b = (np.asarray(v, dtype=np.float64) for v in (gamma_a, time_a, gamma_b, time_b))
    early, late = np.minimum(time_a, time_b), np.maximum(time_a, time_b)
    gamma_late = np.where(time_a > time_b, gamma_a, gamma_b)
    return (gamma_a + 1) * (gamma_b + 1) / ((gamma_a + gamma_b + 1) * late) * (early / late) ** gamma_late


def fit_profile(profiles: Sequence[tuple[int, float]], step: int, width: float) -> tuple[NDArray[np.float64], float]:
    """Fit the profile (step, width) by a combination of `profiles`, pairs (step, width); return coefficients, residual.

    Least squares in L2 on [0, step], then normalized to sum to one (n coefficients, float64). The residual is the
    L2 distance between the combination and the profile, relative to the profile's norm: the relative error of the
    average of pure noise (parameters that are independent from step to step).
    """
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
