"""Multi-head self-attention, of which the kinds are parts (paper, section 3.2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..experiment.parts import provide
from .building import PartContext, build
from .layers import Linear

HEAD_EPS = 1e-8  # epsilon of cosine attention


class _UnitMagnitude(torch.autograd.Function):
    """y = r x with r = (|x|^2 / d + eps)^(-1/2), whose gradient is r (g - y (y . g) / d).

    Equal to F.rms_norm, which on a CPU decomposes into many operations that each copy x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        r = norm.square_().div_(x.shape[-1]).add_(HEAD_EPS).rsqrt_()
        y = x * r
        ctx.save_for_backward(y, r)
        return y.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        y, r = ctx.saved_tensors
        g = gradient.to(y.dtype)
        radial = torch.linalg.vecdot(y, g).unsqueeze(-1)
        return torch.addcmul(g, y, radial, value=-1 / y.shape[-1]).mul_(r).to(gradient.dtype)


def unit_magnitude(x: Tensor) -> Tensor:
    """Vectors of the last dimension scaled to magnitude 1, that is to norm sqrt(d); computed in float32 at least."""
    if x.is_cuda or torch.compiler.is_compiling():  # here F.rms_norm is one kernel
        return F.rms_norm(x, x.shape[-1:], eps=HEAD_EPS).to(x.dtype)
    return _UnitMagnitude.apply(x)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q.k / sqrt(d)) v for q, k, v (N, T, H, d) -> (N, T, H, d)."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def cosine_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention by cosines times sqrt(d) (paper, section 3.2), because q and k have norm sqrt(d); v is unchanged."""
    return softmax_attention(unit_magnitude(q), unit_magnitude(k), v)


@provide("attention", "dot_product")
def _dot_product(context: PartContext) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return softmax_attention


@provide("attention", "cosine")
def _cosine(context: PartContext) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return cosine_attention


class Attention(nn.Module):
    """Multi-head self-attention of the kind that the configuration names: (N, T, D) -> (N, T, D).

    Softmax weights are convex: no output of a head is longer than its longest value vector.
    """

    def __init__(self, context: PartContext):
        super().__init__()
        width = context.width
        self.heads = context.heads
        self.qkv = Linear(width, 3 * width, context.weights)
        self.attend = build("attention", context)
        self.out = Linear(width, width, context.weights)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (N, T, H, D/H) each
        return self.out(self.attend(q, k, v).flatten(2))
