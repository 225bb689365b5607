"""Magnitude-preserving primitives, one per lemma or equation of the paper (arXiv 2505.19122).

The expected magnitude of a random x in R^n is M[x] = sqrt((1/n) sum_i E[x_i^2]) (Definition 1). A layer f preserves
magnitude if M[f(x)] = M[x] for independent features. Shapes: N images, T tokens, D features, H heads.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..experiment.parts import provide
from .building import PartContext, build
from .products import linear

SILU_RMS = 0.5964692111227136  # sqrt(E[silu(z)^2]) for z ~ N(0, 1), by quadrature
LEAKY_SLOPE = 0.2
RESIDUAL_BLEND = 0.3  # t of the MP sum in blocks (EDM2, Table 6)
EMBEDDING_BLEND = 0.5  # t of the MP sum of embeddings (EDM2, Table 6)
INITIAL_STD = 0.02  # standard deviation of embeddings that are not magnitude-preserving (DiT)
NORM_EPS = 1e-6  # epsilon of LayerNorm (DiT)


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
        return linear(x.to(rows.dtype), rows if multiplier == 1.0 else rows * multiplier)


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


def gated_sum(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """The residual sum x + gate * y of a block: x, y (N, T, D), gate (N, 1, D)."""
    return torch.addcmul(x, gate, y)


def mp_gated_sum(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """The MP sum of x and gate * y with blend RESIDUAL_BLEND: x, y (N, T, D), gate (N, 1, D)."""
    keep, add = mp_coefficients(RESIDUAL_BLEND)
    return (x * keep).addcmul_(gate * add, y)  # constants in the gate, and in place: one copy of x less


class Sums(NamedTuple):
    """The sums of a configuration. An nn.Module is welcome for either; each place in the model has its own."""

    residual: Callable[[Tensor, Tensor, Tensor], Tensor]  # (x, y, gate) -> the stream x with the gated branch y
    embedding: Callable[[Tensor, Tensor], Tensor]  # of time and label (N, D), and of patches and positions (N, T, D)


@provide("sums", "plain")
def _plain_sums(context: PartContext) -> Sums:
    return Sums(gated_sum, torch.add)


@provide("sums", "mp")
def _mp_sums(context: PartContext) -> Sums:
    return Sums(mp_gated_sum, lambda x, y: mp_sum(x, y, EMBEDDING_BLEND))


# --- Activations (Lemmas 5 and 6) ---


class Activation(nn.Module):
    """An elementwise function, times the factor that restores the magnitude: x -> y of the same shape.

    Args:
        function: of a tensor of any shape; with parameters it is an nn.Module.
        factor: what its value is multiplied by.
        gated: whether the MLP multiplies the activation of one linear map of its input by another, as in SwiGLU.
        hidden: width of the MLP's hidden layer, in units of the model's width.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], factor: float = 1.0, *, gated: bool = False, hidden: float = 4.0
    ):
        super().__init__()
        self.function, self.factor, self.gated, self.hidden = function, factor, gated, hidden

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x)
        return y if self.factor == 1.0 else y * self.factor


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


@provide("activation", "silu")
def _silu(context: PartContext) -> Activation:
    return Activation(F.silu)


@provide("activation", "mp_silu")
def _mp_silu(context: PartContext) -> Activation:
    """Lemma 5: for inputs of unit magnitude only."""
    return Activation(F.silu, 1 / SILU_RMS)


@provide("activation", "mp_leaky_relu")
def _mp_leaky_relu(context: PartContext) -> Activation:
    """Lemma 6: for symmetric inputs of any magnitude, because the function is homogeneous."""
    return Activation(_leaky_relu, math.sqrt(2 / (1 + LEAKY_SLOPE**2)))


# --- Norms and MLP ---


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last dimension without affine parameters, computed in float32 at least."""
    return F.layer_norm(at_least_float32(x), x.shape[-1:], eps=NORM_EPS)


def identity(x: Tensor) -> Tensor:
    """x itself."""
    return x


@provide("norm", "layer")
def _layer(context: PartContext) -> Callable[[Tensor], Tensor]:
    return layer_norm


@provide("norm", "none")
def _none(context: PartContext) -> Callable[[Tensor], Tensor]:
    return identity


class MLP(nn.Module):
    """Two linear layers around the configuration's activation: (N, T, D) -> (N, T, D).

    The hidden layer has four times the width, unless the activation says otherwise. For a gated activation `up` gives
    twice as many values, of which the first half goes through the function.
    """

    def __init__(self, context: PartContext):
        super().__init__()
        self.activation: Activation = build("activation", context)
        hidden = round(self.activation.hidden * context.width)
        self.up = Linear(context.width, hidden * (2 if self.activation.gated else 1), context.weights)
        self.down = Linear(hidden, context.width, context.weights)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)
        if self.activation.gated:
            hidden, factor = hidden.chunk(2, dim=-1)
            hidden = self.activation.function(hidden) * factor
        else:
            hidden = self.activation.function(hidden)
        # The activation's factor is applied to the weight of `down`, which is smaller than its input.
        return self.down(hidden, self.activation.factor)
