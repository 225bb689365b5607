"""Matrix products in float32 on x86 CPUs by oneDNN, which uses the same instructions whoever made the CPU.

torch takes these products from Intel's MKL, which on AMD's CPUs leaves AVX-512 unused and is half as fast. It has
oneDNN's as well, but only for tensors in other layouts and for compiled code. Equal but for rounding
(tests/model/test_products.py).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 2_000_000  # multiplications; starting a product takes 10 microseconds more than torch's own


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x W', as `torch.nn.functional.linear`: (..., n), (m, n) -> (..., m)."""
    if _by_onednn(x, weight):
        return _Linear.apply(x, weight)
    return F.linear(x, weight)


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.numel() * weight.shape[0] >= SMALLEST
        and x.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()  # generated code chooses for itself
        and not torch.is_autocast_enabled("cpu")
    )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b' for a (..., k), which is copied unless it is contiguous, and b (m, k) with any strides."""
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _product(gradient, weight.t())
        if ctx.needs_input_grad[1]:
            x, gradient = x.flatten(0, -2), gradient.flatten(0, -2)  # (N, n), (N, m)
            # Either operand may be the one that is copied: the narrower.
            if x.shape[1] <= gradient.shape[1]:
                to_weight = _product(x.t(), gradient.t()).t()
            else:
                to_weight = _product(gradient.t(), x.t())
        return to_x, to_weight
