"""Tracking of power-function EMAs of the weights during training; their profiles are in `experiment.ema_profiles`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..experiment.ema_profiles import width_to_gamma
from ..system.errors import UserError
from .flat_tensors import FlatTensors


def beta(step: int, dt: int, gamma: float) -> float:
    """Return the weight of the old average in an update at `step` that covers `dt` steps: (1 - dt/step)^(gamma + 1).

    With `average <- beta average + (1 - beta) weights`, the weights held over (step - dt, step] get exactly the
    integral of the continuous profile over that interval, whatever the earlier intervals were.
    """
    if not 0 < dt <= step:
        raise ValueError(f"dt {dt} at step {step}: must be at least 1 and at most the step")
    return (1 - dt / step) ** (gamma + 1)


class PowerEMA:
    """Averages of `parameters`, which the optimizer changes in place, one per relative width.

    `averages[width][name]` are float32 tensors on the parameters' device. The first update, whose interval begins at
    step 0, overwrites their initial values.
    """

    def __init__(self, parameters: FlatTensors, widths: Sequence[float]):
        self.gammas = {width: width_to_gamma(width) for width in widths}
        self._parameters = parameters.values
        self._averages = {width: parameters.values.clone() for width in widths}
        self.averages = {width: parameters.views(values) for width, values in self._averages.items()}

    @torch.no_grad()
    def update(self, step: int, dt: int = 1) -> None:
        """Add the parameters after `step` steps, `dt` steps after the last update. Never waits for the device."""
        for width, gamma in self.gammas.items():
            self._averages[width].lerp_(self._parameters, 1 - beta(step, dt, gamma))

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
