"""Modulations: how the condition changes the input of a block's branch. One table, one signature.

Each modulation names its heads, which are linear maps of the condition that start at zero, and a function

    apply(x, heads, base) -> y      x, y (N, T, D); heads: a sequence of (N, 1, outputs); base (k, D) or None

that is the identity if all heads are zero. The gate on the branch's output is not part of it: every block has one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..experiment.parts import provide
from .building import PartContext

REFLECTION_PAIRS = 2  # in rotate_full; each pair of reflections is a rotation in one plane of R^D


def pairs(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The matrices [[a, b], [c, d]] applied to the pairs (x_i, x_{i + D/2}): x (N, T, D), a to d (N, 1, D/2)."""
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((torch.addcmul(x1 * a, x2, b), torch.addcmul(x1 * c, x2, d)), dim=-1)


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Rotate each pair (x_i, x_{i + D/2}) by angle_i in radians (Lemma 2): x (N, T, D), angle (N, 1, D/2).

    An isometry for every token, so M[y] = M[x] exactly.
    """
    cos, sin = angle.cos(), angle.sin()
    return pairs(x, cos, -sin, sin, cos)


def reflect(x: Tensor, direction: Tensor) -> Tensor:
    """Householder reflection of x (N, T, D) in the hyperplane orthogonal to `direction` (N, 1, D), of any length."""
    unit = F.normalize(direction, dim=-1)
    return torch.addcmul(x, (x * unit).sum(-1, keepdim=True), unit, value=-2)


def _scale(x: Tensor, heads: Sequence[Tensor], base: Tensor | None) -> Tensor:
    return x * (1 + heads[0])


def _shift(x: Tensor, heads: Sequence[Tensor], base: Tensor | None) -> Tensor:
    return x + heads[0]


def scale_shift(x: Tensor, heads: Sequence[Tensor], base: Tensor | None = None) -> Tensor:
    """(1 + scale) x + shift, the AdaLN of DiT. The final layer uses it under every modulation."""
    scale, shift = heads
    return torch.addcmul(shift, x, 1 + scale)


def _rotate(x: Tensor, heads: Sequence[Tensor], base: Tensor | None) -> Tensor:
    return rotate(x, heads[0])


def _scale_rotate(x: Tensor, heads: Sequence[Tensor], base: Tensor | None) -> Tensor:
    """x scaled, then rotated, by one matrix per pair."""
    s1, s2 = (1 + heads[0]).chunk(2, dim=-1)
    cos, sin = heads[1].cos(), heads[1].sin()
    return pairs(x, s1 * cos, -s2 * sin, s1 * sin, s2 * cos)


def _rotate_full(x: Tensor, heads: Sequence[Tensor], base: Tensor | None) -> Tensor:
    """A rotation in all D dimensions: the product over k of pairs of reflections H(v_k + head_k) H(v_k).

    The learned base directions v_k = sqrt(D) base_k have magnitude 1. Each pair rotates the plane spanned by v_k and
    head_k by twice the angle from v_k to v_k + head_k, so the planes depend on the condition and involve all features.
    """
    width = x.shape[-1]
    directions = base * width**0.5  # (k, D)
    offsets = heads[0].unflatten(-1, (-1, width))  # (N, 1, k, D)
    for k, direction in enumerate(directions.unbind(0)):
        x = reflect(reflect(x, direction), direction + offsets[:, :, k])
    return x


@dataclass(frozen=True)
class Modulation:
    """One modulation: its heads, its function, and how many learned base directions that takes."""

    heads: dict[str, float]  # name -> number of outputs in units of the width D
    apply: Callable[[Tensor, Sequence[Tensor], Tensor | None], Tensor]
    base: int = 0  # learned base directions


# The package's own. Parameters per branch besides the gate's D^2: scale and shift D^2 each, rotate D^2/2,
# rotate_full 2 D^2 + 2 D.
MODULATIONS = {
    "scale": Modulation({"scale": 1}, _scale),
    "shift": Modulation({"shift": 1}, _shift),
    "scale_shift": Modulation({"scale": 1, "shift": 1}, scale_shift),
    "rotate": Modulation({"angle": 0.5}, _rotate),
    "scale_rotate": Modulation({"scale": 1, "angle": 0.5}, _scale_rotate),
    "rotate_full": Modulation({"direction": REFLECTION_PAIRS}, _rotate_full, base=REFLECTION_PAIRS),
}


def _provide(name: str, modulation: Modulation) -> None:
    @provide("modulation", name)
    def make(context: PartContext) -> Modulation:
        return modulation


for _name, _modulation in MODULATIONS.items():
    _provide(_name, _modulation)
