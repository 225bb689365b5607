"""Forced weight normalization at almost no cost, for any training loop and any torch optimizer of the Adam family.

The textbook form (EDM2, section 2.3) stores rows v of norm sqrt(n), divides by the norm in the forward pass under
autograd, and puts the rows back on the sphere before each step. Here rows u = v / sqrt(n) are stored at norm 1, the
forward pass is a plain matrix product, and what autograd would have done to the gradient is done once per step:

    loss.backward()               # and the all-reduce, or the last of several accumulated backward passes
    forced.project_gradients()    # g <- g - u (u . g): removes the radial part of each row
    clip_gradients(groups, ...)   # norms in the scale of the textbook form
    optimizer.step()              # learning rate / sqrt(n), eps * sqrt(n): the textbook step, seen from u
    forced.renormalize()          # u <- u / |u|

Both forms take the same steps (proved in tests/training/test_forced_norm.py): du = dv / sqrt(n), and dL/dv is the
projected dL/du divided by sqrt(n), so Adam's moments differ by factors of sqrt(n), which lr and eps absorb.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..model.dit import DiT
from ..model.layers import unit_rows

ParameterGroup = dict[str, Any]  # as torch.optim has them


def parameter_groups(model: DiT, lr: float, eps: float = 1e-8) -> list[ParameterGroup]:
    """Group the parameters by fan-in for torch.optim.Adam: forced rows in R^n get lr / sqrt(n) and eps * sqrt(n).

    All others (gains, and every parameter if the model has no forced rows) come first, with plain lr and eps and
    fan-in 1. A schedule sets group["lr"] = group["base_lr"] * factor; "names" are those of "params".
    """
    forced = model.sphere_rows()
    members: dict[int, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        members.setdefault(parameter.shape[1] if name in forced else 1, {})[name] = parameter
    return [
        {
            "params": list(parameters.values()),
            "names": list(parameters),
            "lr": lr / math.sqrt(n),
            "base_lr": lr / math.sqrt(n),
            "eps": eps * math.sqrt(n),
            "fan_in": n,
        }
        for n, parameters in sorted(members.items())
    ]


class ForcedNormalization:
    """Keeps the rows of `weights`, such as those of `model.sphere_rows()`, on the unit sphere."""

    def __init__(self, weights: Iterable[Tensor]):
        self.weights = list(weights)

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Remove the radial part of each row's gradient, in float32 or better. Call when all gradients are summed."""
        for weight in self.weights:
            if weight.grad is not None:
                radial = torch.linalg.vecdot(weight, weight.grad).unsqueeze(-1)
                weight.grad.addcmul_(weight, radial, value=-1)

    @torch.no_grad()
    def renormalize(self) -> None:
        """Scale each row back to norm 1. Call after the optimizer's step."""
        for weight in self.weights:
            weight.mul_(torch.linalg.vector_norm(weight, dim=-1, keepdim=True).reciprocal_())


@torch.no_grad()
def gradient_norm(groups: Sequence[ParameterGroup]) -> Tensor:
    """Return the global gradient norm as the textbook form has it: each group's squared norm divided by its fan-in.

    A scalar tensor on the gradients' device, comparable between Config C, D, and E. Never waits for the device.
    """
    fan_in = {p.grad: group["fan_in"] for group in groups for p in group["params"] if p.grad is not None}
    if not fan_in:
        return torch.zeros((), device=groups[0]["params"][0].device)
    norms = torch._foreach_norm(list(fan_in))
    torch._foreach_mul_(norms, [1 / math.sqrt(n) for n in fan_in.values()])
    return torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def clip_gradients(groups: Sequence[ParameterGroup], max_norm: float, norm: Tensor | None = None) -> Tensor:
    """Scale all gradients down so that `gradient_norm` is at most `max_norm`; return the norm before clipping.

    `norm` is that norm, if it is already known. Never waits for the device.
    """
    norm = gradient_norm(groups) if norm is None else norm
    factor = (max_norm / norm).clamp(max=1.0)
    gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
    torch._foreach_mul_(gradients, factor)
    return norm


@torch.no_grad()
def force_rows(weights: Iterable[Tensor]) -> None:
    """Scale rows (R, n) to norm sqrt(n) in place: the textbook form's forced normalization, before a forward pass."""
    for weight in weights:
        weight.copy_(unit_rows(weight) * math.sqrt(weight.shape[1]))
