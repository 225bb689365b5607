"""Floating-point operations (FLOPs) of a model's forward pass, as torch's own counter sees them.

Matrix products alone are counted, attention among them, with 2 operations for each multiplication and addition:
2 R n per vector for a matrix (R, n), and 4 T^2 D for the two products of attention over T tokens of width D.
"""

from copy import deepcopy

import torch
from torch.utils.flop_counter import FlopCounterMode

from .dit import DiT


def flops(model: DiT) -> int:
    """FLOPs of the forward pass of one image."""
    return flops_by_module(model)[""]


def flops_by_module(model: DiT) -> dict[str, int]:
    """FLOPs of the forward pass of one image by module, named as in `model.named_modules()`; "" is the whole model.

    A module's count includes its submodules'. Modules without matrix products, and lists of modules, are missing.
    """
    # On the meta device attention decomposes into its products; the CPU's fused kernel would count as nothing.
    on_meta = deepcopy(model).to("meta")
    x = torch.empty(1, model.in_channels, model.input_size, model.input_size, device="meta")
    index = torch.empty(1, dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        on_meta(x, index, index)
    prefix = type(model).__name__
    return {
        name.removeprefix(prefix).removeprefix("."): sum(operations.values())
        for name, operations in counter.get_flop_counts().items()
        if name != "Global"
    }
