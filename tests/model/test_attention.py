"""Attention of every kind equals its formula, and is bounded as the paper says."""

import math

import pytest
import torch
from helpers.contexts import context
from helpers.effort import EFFORT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mpdit.model.attention import HEAD_EPS, Attention, unit_magnitude
from mpdit.model.layers import magnitude

seeds = st.integers(0, 2**31)
scales = st.floats(1e-2, 1e2)
few = settings(max_examples=25 * EFFORT, deadline=None)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention(kind: str, width: int = 16, heads: int = 2, weights: str = "forced") -> Attention:
    module = Attention(context(width=width, heads=heads, attention=kind, weights=weights)).double()
    for layer in (module.qkv, module.out):
        layer.initialize(torch.Generator().manual_seed(3))
    return module


@few
@given(seed=seeds, scale=scales)
def test_unit_magnitude_has_magnitude_one_and_is_idempotent(seed, scale):
    torch.testing.assert_close(
        magnitude(unit_magnitude(scale * normal(seed, 5, 8)), dim=-1),
        torch.ones(5, dtype=torch.float64),
        rtol=1e-3,
        atol=0,
    )
    x = normal(seed, 5, 8)
    torch.testing.assert_close(unit_magnitude(unit_magnitude(x)), unit_magnitude(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_unit_magnitude_equals_rms_norm(dtype):
    """Values and gradients, including a strided view and vectors close to zero."""
    x = (normal(0, 4, 3, 5, 8) * torch.tensor([1.0, 1e-5, 0.0, 300.0]).view(-1, 1, 1, 1)).to(dtype)
    gradient = normal(1, 3, 4, 5, 8).to(dtype)
    actual, expected = [], []
    for function, results in (
        (unit_magnitude, actual),
        (lambda view: F.rms_norm(view, view.shape[-1:], eps=HEAD_EPS), expected),
    ):
        leaf = x.clone().requires_grad_()
        y = function(leaf.transpose(0, 1))
        y.backward(gradient)
        results += [y.detach(), leaf.grad]
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["dot_product", "cosine"])
@settings(max_examples=15 * EFFORT, deadline=None)
@given(seed=seeds, scale=scales)
def test_attention_outputs_are_bounded_by_values(kind, seed, scale):
    """With an identity output layer, no head's output is longer than its longest value vector."""
    module = attention(kind)
    module.out.weight.data = torch.eye(16, dtype=torch.float64)
    x = scale * normal(seed, 3, 7, 16)
    y = module(x).unflatten(-1, (2, 8))  # (N, T, H, D/H)
    values = module.qkv(x)[..., 32:].unflatten(-1, (2, 8))
    assert (y.norm(dim=-1) <= values.norm(dim=-1).amax(1, keepdim=True) * (1 + 1e-12)).all()


def test_attention_equals_its_formula():
    for kind in ("dot_product", "cosine"):
        module, x = attention(kind), normal(0, 2, 5, 16)
        q, k, v = module.qkv(x).view(2, 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
        if kind == "cosine":
            q, k = (math.sqrt(8) * part / part.norm(dim=-1, keepdim=True) for part in (q, k))
        logits = q @ k.mT / math.sqrt(8)
        y = (logits.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(2, 5, 16)
        torch.testing.assert_close(module(x), F.linear(y, module.out.weight), rtol=1e-6, atol=1e-7)


@few
@given(seed=seeds, scale=scales)
def test_cosine_attention_is_homogeneous(seed, scale):
    """Logits do not depend on magnitudes, so scaled tokens give scaled outputs."""
    x = normal(seed, 2, 5, 16)
    torch.testing.assert_close(attention("cosine")(scale * x), scale * attention("cosine")(x), rtol=1e-3, atol=1e-4)


def test_dot_product_attention_is_not_homogeneous():
    x, module = normal(0, 2, 5, 16), attention("dot_product")
    assert (module(10 * x) - 10 * module(x)).abs().max() > 0.1


@pytest.mark.parametrize(("tokens", "expected"), [(1, 1.0), (64, math.sqrt(math.e / 64))])
def test_attention_averages_uncorrelated_tokens(tokens, expected):
    """Cosine logits of many features are normal with variance 1, so the squares of the weights e^z / (T sqrt(e)) sum to
    e / T, which takes magnitude 1 down to 0.2 for 64 tokens. Within 5 % for heads of 32 features and one draw of the
    weights."""
    measured = magnitude(attention("cosine", width=128, heads=4)(normal(0, 4096 // tokens, tokens, 128))).item()
    assert measured == pytest.approx(expected, rel=0.05)
