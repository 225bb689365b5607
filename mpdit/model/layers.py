"""Magnitude-preserving primitives, one per lemma or equation of the paper (arXiv 2505.19122).

The expected magnitude of a random x in R^n is M[x] = sqrt((1/n) sum_i E[x_i^2]). A layer f preserves magnitude if
M[f(x)] = M[x] for independent features. Shapes: N images, T tokens, D features, H heads.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SILU_RMS = 0.5964692111227136  # sqrt(E[silu(z)^2]) for z ~ N(0, 1), by quadrature
LEAKY_SLOPE = 0.2
RESIDUAL_BLEND = 0.3  # t of the MP sum in blocks, and
EMBEDDING_BLEND = 0.5  # where embeddings are summed (EDM2, Table 6)
TIME_FEATURES = 256
INITIAL_STD = 0.02  # of embeddings that are not magnitude preserving (DiT)
NORM_EPS = 1e-6  # LayerNorm (DiT)
HEAD_EPS = 1e-8  # cosine attention


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32 if it is in half precision, else x itself: normalisations are never done in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def magnitude(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """Root mean square of x, over all of it or over `dim`: the estimate of M[x] (Definition 1)."""
    return at_least_float32(x).square().mean(dim).sqrt()


# --- Linear layers and embeddings (Lemma 3) ---


def unit_rows(weight: Tensor) -> Tensor:
    """Each row of `weight` (R, n) divided by its Euclidean norm."""
    return F.normalize(at_least_float32(weight), dim=-1).to(weight.dtype)


class Rows(nn.Module):
    """A matrix of `count` row vectors in R^n in one of three forms (`weights`):

    plain       used as they are; drawn by `initial`: xavier (uniform), normal (standard deviation 0.02), zero, or
                unit (each row normal with expected norm 1)
    normalized  stored at norm sqrt(n) at the start, divided by their norm in every forward pass, differentiably (EDM2,
                equation 66). The gradient is then tangent to the sphere, so the stored norm can only grow.
    forced      stored at norm 1 and used as they are; `optimizer.ForcedNormalization` keeps them there
    """

    def __init__(self, count: int, n: int, weights: str, initial: str = "xavier"):
        super().__init__()
        self.weights, self.initial = weights, initial
        self.weight = nn.Parameter(torch.empty(count, n))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator | None = None) -> None:
        """Draw the rows anew on the CPU from `generator`, or from torch's global one."""
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
        """The rows as the forward pass uses them: (count, n), of norm 1 unless they are plain."""
        return unit_rows(self.weight) if self.weights == "normalized" else self.weight

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.weights}"


class Linear(Rows):
    """y = W x without a bias (Lemma 3: with rows of norm 1, M[y] = M[x]). (..., n) -> (..., m)."""

    def __init__(self, n: int, m: int, weights: str, initial: str = "xavier"):
        super().__init__(m, n, weights, initial)

    def forward(self, x: Tensor, multiplier: float = 1.0) -> Tensor:
        """In the precision of the weight, or of autocast. `multiplier` scales the output, by way of the weight."""
        rows = self.rows()
        return F.linear(x.to(rows.dtype), rows if multiplier == 1.0 else rows * multiplier)


class ZeroLinear(Linear):
    """A linear layer whose output starts at zero: (..., n) -> (..., sum(sizes)).

    Rows of norm 1 cannot be zero, so there each part of the output, of the given `sizes`, has a learned scalar gain
    that starts at 0; plain rows just start at 0 and have no gains.
    """

    def __init__(self, n: int, sizes: tuple[int, ...], weights: str):
        super().__init__(n, sum(sizes), weights, initial="zero")
        self.sizes = sizes
        self.gain = None
        if weights != "plain":
            self.gain = nn.Parameter(torch.empty(len(sizes)))
            # Neighbouring outputs that share a gain are scaled as one unit.
            self.unit = math.gcd(*sizes)
            part = [index for index, size in enumerate(sizes) for _ in range(size // self.unit)]
            self.register_buffer("part", torch.tensor(part), persistent=False)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator | None = None) -> None:
        super().initialize(generator)
        if self.gain is not None:
            self.gain.zero_()

    def forward(self, x: Tensor) -> Tensor:
        y = at_least_float32(super().forward(x))
        if self.gain is None:
            return y
        return (y.unflatten(-1, (-1, self.unit)) * self.gain[self.part].unsqueeze(-1)).flatten(-2)


class Embedding(Rows):
    """A table of `count` vectors: (N,) int64 -> (N, D). Rows of norm 1 are multiplied by sqrt(D): magnitude 1."""

    def __init__(self, count: int, width: int, weights: str):
        super().__init__(count, width, weights, initial="normal")

    def forward(self, index: Tensor) -> Tensor:
        rows = F.embedding(index, self.weight)
        if self.weights == "plain":
            return rows
        return (unit_rows(rows) if self.weights == "normalized" else rows) * self.weight.shape[1] ** 0.5


# --- Sums (Lemma 4) ---


def mp_coefficients(t: float) -> tuple[float, float]:
    """Weights (sqrt(1 - a), sqrt(a)) of an MP sum that blends by t: a = t^2 / ((1 - t)^2 + t^2) (EDM2, equation 88)."""
    norm = math.hypot(1 - t, t)
    return (1 - t) / norm, t / norm


def mp_sum(x: Tensor, y: Tensor, t: float) -> Tensor:
    """sqrt(1 - a) x + sqrt(a) y (Lemma 4): magnitude sqrt((1 - a) M[x]^2 + a M[y]^2) if x and y are uncorrelated."""
    keep, add = mp_coefficients(t)
    return torch.add(x * keep, y, alpha=add)


def gated_sum(x: Tensor, y: Tensor, gate: Tensor, sums: str) -> Tensor:
    """The residual x (+) gate * y of a block: x, y (N, T, D), gate (N, 1, D). Constants are folded into the gate."""
    if sums == "plain":
        return torch.addcmul(x, gate, y)
    keep, add = mp_coefficients(RESIDUAL_BLEND)
    return (x * keep).addcmul_(gate * add, y)  # in place: one copy of the stream less


# --- Activations (Lemmas 5 and 6). Each is (function, the factor that restores unit magnitude) ---


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


ACTIVATIONS = {
    "silu": (F.silu, 1.0),
    # Lemma 5: holds for inputs of unit magnitude only.
    "mp_silu": (F.silu, 1 / SILU_RMS),
    # Lemma 6: holds for symmetric inputs of every magnitude, because the function is homogeneous.
    "mp_leaky_relu": (_leaky_relu, math.sqrt(2 / (1 + LEAKY_SLOPE**2))),
}


def activate(x: Tensor, activation: str) -> Tensor:
    function, factor = ACTIVATIONS[activation]
    return function(x) if factor == 1.0 else function(x) * factor


# --- Attention ---


class _UnitMagnitude(torch.autograd.Function):
    """y = r x with r = (|x|^2 / d + eps)^(-1/2), whose gradient is r (g - y (y . g) / d).

    What F.rms_norm computes, which on a CPU falls apart into operations that copy x again and again.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        r = norm.square_().div_(x.shape[-1]).add_(HEAD_EPS).rsqrt_()
        y = x * r
        ctx.save_for_backward(y, r)
        return y.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        y, r = ctx.saved_tensors
        g = gradient.to(y.dtype)
        radial = torch.linalg.vecdot(y, g).unsqueeze(-1)
        return torch.addcmul(g, y, radial, value=-1 / y.shape[-1]).mul_(r).to(gradient.dtype)


def unit_magnitude(x: Tensor) -> Tensor:
    """Each vector of the last dimension brought to magnitude 1, that is to norm sqrt(d); in float32 inside."""
    if x.is_cuda or torch.compiler.is_compiling():  # where it is one kernel
        return F.rms_norm(x, x.shape[-1:], eps=HEAD_EPS).to(x.dtype)
    return _UnitMagnitude.apply(x)


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last dimension, without affine parameters, in float32 at least."""
    return F.layer_norm(at_least_float32(x), x.shape[-1:], eps=NORM_EPS)


class Attention(nn.Module):
    """Multi-head self-attention: (N, T, D) -> (N, T, D), logits q.k / sqrt(d_head).

    `cosine` (paper, section 3.2) brings q and k to norm sqrt(d_head) per head, so the logits are cosines within
    +-sqrt(d_head); v is left as it is. Softmax makes convex combinations: no output is longer than the longest value.
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
    """Two linear layers with an activation between them, four times as wide inside: (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, activation: str, weights: str):
        super().__init__()
        self.activation, self.multiplier = ACTIVATIONS[activation]
        self.up = Linear(width, 4 * width, weights)
        self.down = Linear(4 * width, width, weights)

    def forward(self, x: Tensor) -> Tensor:
        # The activation's factor is applied by way of the weight of `down`, which is smaller than its input.
        return self.down(self.activation(self.up(x)), self.multiplier)


# --- Embeddings of time and position ---


def time_features(t: Tensor, embeddings: str) -> Tensor:
    """Sinusoids of timesteps t (N,) -> (N, 256) float32. `mp`: times sqrt(2), which makes their magnitude 1 exactly."""
    half = TIME_FEATURES // 2
    # In float64: an angle is up to 1000 times a frequency, and so is its error.
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=torch.float64) * (-math.log(10_000) / half))
    angles = t.float().unsqueeze(-1) * frequencies.float()
    features = torch.cat((angles.cos(), angles.sin()), dim=-1)
    return features * math.sqrt(2) if embeddings == "mp" else features


class TimeEmbedding(nn.Module):
    """Timesteps (N,) -> (N, D): sinusoids through two linear layers."""

    def __init__(self, width: int, activation: str, embeddings: str, weights: str):
        super().__init__()
        self.activation, self.embeddings = activation, embeddings
        self.up = Linear(TIME_FEATURES, width, weights, initial="normal")
        self.down = Linear(width, width, weights, initial="normal")

    def forward(self, t: Tensor) -> Tensor:
        features = time_features(t, self.embeddings).to(self.up.weight.dtype)
        return self.down(activate(self.up(features), self.activation))


def position_encoding(side: int, width: int, pos_center: str, embeddings: str) -> Tensor:
    """Fixed 2-D sinusoids of a grid of side x side tokens, in row-major order: (T, D) float32.

    A quarter of the features each for sin and cos of row and column. `pos_center` takes out the mean over `feature`s
    or over positions (`token`; a lone token keeps its encoding); `mp` embeddings bring each position to magnitude 1.
    """
    quarter = width // 4
    frequencies = torch.exp(torch.arange(quarter, dtype=torch.float64) * (-math.log(10_000) / quarter))
    angles = torch.arange(side, dtype=torch.float64).unsqueeze(-1) * frequencies  # (side, D/4)
    axis = torch.cat((angles.sin(), angles.cos()), dim=-1)  # (side, D/2)
    grid = (side, side, 2 * quarter)
    encoding = torch.cat((axis.unsqueeze(1).expand(grid), axis.unsqueeze(0).expand(grid)), dim=-1).flatten(0, 1)
    if pos_center == "feature":
        encoding = encoding - encoding.mean(dim=1, keepdim=True)
    elif pos_center == "token" and side > 1:
        encoding = encoding - encoding.mean(dim=0, keepdim=True)
    if embeddings == "mp":
        encoding = F.normalize(encoding, dim=-1) * width**0.5
    return encoding.float()
