"""Adam, by the operation that `torch.optim.Adam(fused=True)` calls, and bit-identical to it.

torch's own optimizers load its compiler when they are constructed, which takes longer than a hundred steps of a small
model, and prepare lists of tensors anew at each step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Adam:
    """Updates the parameters of `groups`, which are as torch.optim has them: "params", "lr", and "eps" of each.

    All parameters are on one device, and all have gradients when `step` is called.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], betas: tuple[float, float]):
        self.param_groups, self.betas = groups, betas
        parameters = [parameter for group in groups for parameter in group["params"]]
        self.steps = torch.zeros((), device=parameters[0].device)  # a tensor, because the operation reads one
        self.moments: dict[str, dict[Tensor, Tensor]] = {
            name: {parameter: torch.zeros_like(parameter, requires_grad=False) for parameter in parameters}
            for name in ("exp_avg", "exp_avg_sq")
        }

    @torch.no_grad()
    def step(self) -> None:
        """Take one step. Never waits for the device."""
        self.steps += 1
        first, second = self.moments.values()
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            torch._fused_adam_(
                parameters,
                [parameter.grad for parameter in parameters],  # type: ignore[misc]  # none is None
                [first[parameter] for parameter in parameters],
                [second[parameter] for parameter in parameters],
                [],
                [self.steps] * len(parameters),
                lr=group["lr"],
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=0.0,
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def state(self, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state as checkpoints have it, "exp_avg/NAME" and so on, of parameters by name; moments are not copied."""
        moments = {
            f"{key}/{name}": moment[parameter]
            for key, moment in self.moments.items()
            for name, parameter in names.items()
        }
        return {**moments, **{f"step/{name}": self.steps.clone() for name in names}}

    @torch.no_grad()
    def load_state(self, names: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Copy a `state` into this one."""
        for key, moment in self.moments.items():
            for name, parameter in names.items():
                moment[parameter].copy_(state[f"{key}/{name}"])
        self.steps.copy_(state[f"step/{next(iter(names))}"])
