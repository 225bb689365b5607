"""How far each primitive is from preserving magnitude if its inputs are correlated: M[f(x)] / M[x] by correlation.

    python benchmarks/correlation.py

The paper's lemmas assume independent features. Here inputs are normal, of unit magnitude and of DiT-S's width; along
features and along tokens, neighbors have correlation r and others r to the power of their distance; the two terms of a
sum have correlation r.
"""

import torch

from mpdit.experiment.ladder import resolve
from mpdit.model.attention import Attention
from mpdit.model.building import PartContext, build
from mpdit.model.layers import EMBEDDING_BLEND, RESIDUAL_BLEND, Linear, magnitude, mp_sum
from mpdit.model.modulation import rotate
from mpdit.system.seeds import generator

WIDTH, HEADS, TOKENS, SAMPLES = 384, 6, 64, 64
E, LEAKY = (
    PartContext(WIDTH, HEADS, int(TOKENS**0.5), 12, 0, resolve(config), "scale_shift") for config in ("E", "E-leaky")
)
CORRELATIONS = (0.0, 0.5, 0.9, 0.99)


def chain(length: int, correlation: float) -> torch.Tensor:
    """Covariance (length, length) of a chain whose neighbors have the given correlation."""
    position = torch.arange(length, dtype=torch.float64)
    return correlation ** (position.unsqueeze(0) - position.unsqueeze(1)).abs()


@torch.no_grad()
def magnitude_ratios(correlation: float, seed: int = 0) -> dict[str, float]:
    """M[f(x)] / M[x] of each primitive, for one draw of weights and inputs."""

    def draw(name: str, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator(seed, name), dtype=torch.float64)

    covariance = chain(WIDTH, correlation)
    x = draw("x", SAMPLES, TOKENS, WIDTH) @ torch.linalg.cholesky(covariance).T  # features correlated
    layer = Linear(WIDTH, WIDTH, "forced")
    layer.initialize(generator(seed, "linear"))
    rows = layer.weight.double()
    by_row = torch.einsum("rn,nm,rm->r", rows, covariance, rows).sqrt()  # exact, over all inputs

    one = draw("one", SAMPLES, TOKENS, WIDTH)
    other = correlation * one + (1 - correlation**2) ** 0.5 * draw("other", SAMPLES, TOKENS, WIDTH)
    tokens = torch.linalg.cholesky(chain(TOKENS, correlation)) @ one  # tokens correlated
    attention = Attention(E).double()
    attention.qkv.initialize(generator(seed, "qkv"))
    attention.out.initialize(generator(seed, "out"))
    angle = draw("angle", SAMPLES, 1, WIDTH // 2)
    return {
        "rotation (Lemma 2)": (magnitude(rotate(x, angle)) / magnitude(x)).item(),
        "linear (Lemma 3), all rows": by_row.square().mean().sqrt().item(),
        "linear, lowest row": by_row.min().item(),
        "linear, highest row": by_row.max().item(),
        "linear, worst possible row": torch.linalg.eigvalsh(covariance)[-1].sqrt().item(),
        "residual sum (Lemma 4), t = 0.3": (magnitude(mp_sum(one, other, RESIDUAL_BLEND)) / magnitude(one)).item(),
        "embedding sum (Lemma 4), t = 0.5": (magnitude(mp_sum(one, other, EMBEDDING_BLEND)) / magnitude(one)).item(),
        "SiLU (Lemma 5)": (magnitude(build("activation", E)(x)) / magnitude(x)).item(),
        "leaky ReLU (Lemma 6)": (magnitude(build("activation", LEAKY)(x)) / magnitude(x)).item(),
        "cosine attention, 64 tokens": (magnitude(attention(tokens)) / magnitude(tokens)).item(),
    }


def main() -> None:
    columns = [magnitude_ratios(correlation) for correlation in CORRELATIONS]
    print("| M[f(x)] / M[x] | " + " | ".join(f"r = {correlation:g}" for correlation in CORRELATIONS) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.3f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
