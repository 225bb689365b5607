"""Magnitude-preserving primitives, one per lemma or equation of the paper (arXiv 2505.19122).

The expected magnitude of a random x in R^n is M[x] = sqrt((1/n) sum_i E[x_i^2]) (Definition 1). A layer f preserves
magnitude if M[f(x)] = M[x] for independent features. Shapes: N images, T tokens, D features, H heads.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SILU_RMS = 0.5964692111227136  # sqrt(E[silu(z)^2]) for z ~ N(0, 1), by quadrature
LEAKY_SLOPE = 0.2
RESIDUAL_BLEND = 0.3  # t of the MP sum in blocks (EDM2, Table 6)
INITIAL_STD = 0.02  # standard deviation of embeddings that are not magnitude-preserving (DiT)
NORM_EPS = 1e-6  # epsilon of LayerNorm (DiT)
HEAD_EPS = 1e-8  # epsilon of cosine attention


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32 if it is in half precision, else x itself, because nothing is normalized in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def magnitude(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """Root mean square of x over all values or over `dim`: the estimate of M[x] (Definition 1)."""
    return at_least_float32(x).square().mean(dim).sqrt()


# --- Linear layers (Lemma 3) ---


def unit_rows(weight: Tensor) -> Tensor:
    """Each row of `weight` (R, n) divided by its Euclidean norm."""
    return F.normalize(at_least_float32(weight), dim=-1).to(weight.dtype)


class Rows(nn.Module):
    """A matrix of `count` row vectors in R^n. `weights` says how rows are stored and used:

    plain       used as stored; initialized by `initial`: xavier (uniform), normal (standard deviation 0.02), zero, or
                unit (normal rows of expected norm 1)
    normalized  stored at norm sqrt(n) at first, and divided by their norm in every forward pass, differentiably (EDM2,
                eq. 66); the gradient is then tangent to the sphere, so the stored norm can only grow
    forced      stored at norm 1 and used as stored; `training.forced_norm.ForcedNormalization` keeps the norm at 1
    """

    def __init__(self, count: int, n: int, weights: str, initial: str = "xavier"):
        super().__init__()
        self.weights, self.initial = weights, initial
        self.weight = nn.Parameter(torch.empty(count, n))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator | None = None) -> None:
        """Draw new rows on the CPU from `generator`, or from torch's global one."""
        count, n = self.weight.shape
        if self.weight.is_meta:
            return
        if self.weights == "plain" and self.initial == "zero":
            self.weight.zero_()
        elif self.weights == "plain" and self.initial == "xavier":
            bound = math.sqrt(6 / (count + n))
            self.weight.copy_(torch.rand(count, n, generator=generator).mul_(2 * bound).sub_(bound))
        else:
            rows = torch.randn(count, n, generator=generator)
            if self.weights == "plain":
                self.weight.copy_(rows * {"normal": INITIAL_STD, "unit": n**-0.5}[self.initial])
            else:
                self.weight.copy_(unit_rows(rows) * {"normalized": n**0.5, "forced": 1.0}[self.weights])

    def rows(self) -> Tensor:
        """The rows (count, n) as the forward pass uses them: of norm 1 unless they are plain."""
        return unit_rows(self.weight) if self.weights == "normalized" else self.weight

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.weights}"


class Linear(Rows):
    """y = W x without a bias, (..., n) -> (..., m). With rows of norm 1, M[y] = M[x] (Lemma 3)."""

    def __init__(self, n: int, m: int, weights: str, initial: str = "xavier"):
        super().__init__(m, n, weights, initial)

    def forward(self, x: Tensor, multiplier: float = 1.0) -> Tensor:
        """In the precision of the weight or of autocast. `multiplier` scales the output, by scaling the weight."""
        rows = self.rows()
        return F.linear(x.to(rows.dtype), rows if multiplier == 1.0 else rows * multiplier)


class ZeroLinear(Linear):
    """A linear layer whose output starts at zero: (..., n) -> (..., sum(sizes)).

    Rows of norm 1 cannot be zero, so each part of the output, of the given `sizes`, has a learned scalar gain that
    starts at 0. Plain rows start at 0 themselves and have no gains.
    """

    part: Tensor

    def __init__(self, n: int, sizes: tuple[int, ...], weights: str):
        super().__init__(n, sum(sizes), weights, initial="zero")
        self.sizes = sizes
        self.gain: nn.Parameter | None = None
        if weights != "plain":
            self.gain = nn.Parameter(torch.empty(len(sizes)))
            # Neighboring outputs that share a gain are scaled as one unit.
            self.unit = math.gcd(*sizes)
            part = [index for index, size in enumerate(sizes) for _ in range(size // self.unit)]
            self.register_buffer("part", torch.tensor(part), persistent=False)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator | None = None) -> None:
        super().initialize(generator)
        if self.gain is not None:
            self.gain.zero_()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # gains in place of a multiplier
        y = at_least_float32(super().forward(x))
        if self.gain is None:
            return y
        return (y.unflatten(-1, (-1, self.unit)) * self.gain[self.part].unsqueeze(-1)).flatten(-2)


# --- Sums (Lemma 4) ---


def mp_coefficients(t: float) -> tuple[float, float]:
    """Weights (sqrt(1 - a), sqrt(a)) of an MP sum with blend t: a = t^2 / ((1 - t)^2 + t^2) (EDM2, eq. 88)."""
    norm = math.hypot(1 - t, t)
    return (1 - t) / norm, t / norm


def mp_sum(x: Tensor, y: Tensor, t: float) -> Tensor:
    """sqrt(1 - a) x + sqrt(a) y, of magnitude sqrt((1 - a) M[x]^2 + a M[y]^2) if x and y are uncorrelated (Lemma 4)."""
    keep, add = mp_coefficients(t)
    return torch.add(x * keep, y, alpha=add)


def gated_sum(x: Tensor, y: Tensor, gate: Tensor, sums: str) -> Tensor:
    """The residual sum x (+) gate * y of a block: x, y (N, T, D), gate (N, 1, D), plain or magnitude-preserving."""
    if sums == "plain":
        return torch.addcmul(x, gate, y)
    keep, add = mp_coefficients(RESIDUAL_BLEND)
    return (x * keep).addcmul_(gate * add, y)  # constants in the gate, and in place: one copy of x less


# --- Activations (Lemmas 5 and 6): name -> (function, factor that restores the magnitude) ---


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "silu": (F.silu, 1.0),
    # Lemma 5: for inputs of unit magnitude only.
    "mp_silu": (F.silu, 1 / SILU_RMS),
    # Lemma 6: for symmetric inputs of any magnitude, because the function is homogeneous.
    "mp_leaky_relu": (_leaky_relu, math.sqrt(2 / (1 + LEAKY_SLOPE**2))),
}


def activate(x: Tensor, activation: str) -> Tensor:
    """The activation, one of ACTIVATIONS, of x, times its factor."""
    function, factor = ACTIVATIONS[activation]
    return function(x) if factor == 1.0 else function(x) * factor


# --- Attention ---


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


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last dimension without affine parameters, computed in float32 at least."""
    return F.layer_norm(at_least_float32(x), x.shape[-1:], eps=NORM_EPS)


class Attention(nn.Module):
    """Multi-head self-attention: (N, T, D) -> (N, T, D), logits q.k / sqrt(d_head).

    `cosine` attention (paper, section 3.2) scales q and k to norm sqrt(d_head) per head, so that the logits are cosines
    times sqrt(d_head); v is unchanged. Softmax weights are convex: no output is longer than the longest value vector.
    """

    def __init__(self, width: int, heads: int, kind: str, weights: str):
        super().__init__()
        self.heads, self.kind = heads, kind
        self.qkv = Linear(width, 3 * width, weights)
        self.out = Linear(width, width, weights)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (N, T, H, D/H) each
        if self.kind == "cosine":
            q, k = unit_magnitude(q), unit_magnitude(k)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (N, H, T, D/H)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers around an activation, with four times the width in between: (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, activation: str, weights: str):
        super().__init__()
        self.activation, self.multiplier = ACTIVATIONS[activation]
        self.up = Linear(width, 4 * width, weights)
        self.down = Linear(4 * width, width, weights)

    def forward(self, x: Tensor) -> Tensor:
        # The activation's factor is applied to the weight of `down`, which is smaller than its input.
        return self.down(self.activation(self.up(x)), self.multiplier)
