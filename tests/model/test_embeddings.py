"""Embeddings of labels, timesteps and positions have the magnitudes they should."""

import math

import pytest
import torch
from helpers.contexts import context
from hypothesis import given
from hypothesis import strategies as st

from mpdit.model.embeddings import Embedding, TimeEmbedding, position_encoding, time_features
from mpdit.model.layers import magnitude

# --- Labels ---


def test_plain_embeddings_are_initialized_as_in_dit():
    """Normal with standard deviation 0.02."""
    table = Embedding(300, 100, "plain")
    table.initialize(torch.Generator().manual_seed(0))
    assert table.weight.std().item() == pytest.approx(0.02, rel=0.02)
    torch.testing.assert_close(table(torch.arange(300)), table.weight)


@pytest.mark.parametrize("weights", ["normalized", "forced"])
def test_embedding_has_unit_magnitude(weights):
    table = Embedding(11, 24, weights)
    table.initialize()
    torch.testing.assert_close(magnitude(table(torch.arange(11)), dim=-1), torch.ones(11))


# --- Time ---


@given(t=st.floats(0, 1000, allow_subnormal=False))
def test_time_features_have_unit_magnitude(t):
    features = time_features(torch.tensor([t]), "mp")
    assert magnitude(features).item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(time_features(torch.tensor([t]), "plain") * math.sqrt(2), features)


def test_time_embedding_has_unit_magnitude():
    """On average over random weights; M^2 of a single draw of width 256 is off by 10 % (two layers)."""
    total = 0.0
    for seed in range(8):
        module = TimeEmbedding(context(width=256))
        for offset, layer in enumerate((module.up, module.down)):
            layer.initialize(torch.Generator().manual_seed(100 * seed + offset))
        total += module(torch.arange(0, 1000, 20)).square().mean().item() / 8
    assert total == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("pos_center", ["none", "feature", "token"])
@pytest.mark.parametrize("side", [1, 4, 8])
def test_position_encoding_has_unit_magnitude(pos_center, side):
    encoding = position_encoding(side, 32, pos_center, "mp")
    assert encoding.shape == (side * side, 32)
    torch.testing.assert_close(magnitude(encoding, dim=-1), torch.ones(side * side))
    if side > 1:
        assert torch.unique(encoding, dim=0).shape[0] == side * side


@pytest.mark.parametrize(("pos_center", "share"), [("none", 0.868), ("feature", 0.751), ("token", 0.002)])
def test_centering_over_tokens_removes_what_positions_share(pos_center, share):
    """The fraction of energy common to all 64 tokens of DiT-S/2, which attention cannot average out."""
    encoding = position_encoding(8, 384, pos_center, "mp")
    shared = (encoding.mean(0).square().sum() / encoding.square().sum(-1).mean()).item()
    assert shared == pytest.approx(share, abs=1e-3)
