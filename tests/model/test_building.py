"""A part of one's own in a model: what its factory receives, and that all kinds are put where they belong."""

import pytest
import torch
from helpers.tiny_models import awaken, inputs, tiny
from torch import nn

from mpdit.experiment import parts
from mpdit.model.attention import softmax_attention
from mpdit.model.blocks import Block
from mpdit.model.layers import Activation, Sums, gated_sum, layer_norm
from mpdit.model.modulation import Modulation

pytestmark = pytest.mark.usefixtures("registries")

OWN = {
    "activation": lambda context: Activation(torch.tanh),
    "norm": lambda context: lambda x: 2 * layer_norm(x),
    "attention": lambda context: lambda q, k, v: softmax_attention(q, k, 2 * v),
    "sums": lambda context: Sums(gated_sum, torch.maximum),
    "block": lambda context: Block(context) if context.block == 0 else Twice(context),
}


class Twice(Block):
    """A block that adds its branches twice."""

    def forward(self, x, condition):
        return super().forward(super().forward(x, condition), condition)


@pytest.mark.parametrize("kind", OWN)
def test_a_part_of_ones_own_changes_the_output(kind):
    parts.register(kind, "own", version=1)(OWN[kind])
    own, shipped = awaken(tiny("B", **{kind: "own"})), awaken(tiny("B"))
    x, t, y = inputs(own)
    assert not torch.allclose(own(x, t, y), shipped(x, t, y))


def test_a_modulation_of_ones_own_is_applied():
    parts.register("modulation", "negate", version=1)(
        lambda context: Modulation({"shift": 1}, lambda x, heads, base: heads[0] - x)
    )
    model = awaken(tiny("B", "negate"))
    x, t, y = inputs(model)
    assert model.blocks[0].head_names == ("attention_shift", "attention_gate", "mlp_shift", "mlp_gate")
    assert not torch.allclose(model(x, t, y), awaken(tiny("B", "shift"))(x, t, y))


def test_a_factory_receives_the_shape_the_configuration_the_place_and_its_options():
    received = []

    def norm(context, eps):
        received.append(context)
        assert eps == 1e-3
        return layer_norm

    parts.register("norm", "own", version=1, eps=1e-3)(norm)
    model = tiny("D", norm="own")
    first = received[0]
    assert (first.width, first.heads, first.side, first.tokens, first.depth) == (16, 2, 2, 4, 2)
    assert (first.fields, first.weights, first.modulation) == (model.config, "forced", "scale_shift")
    assert [context.block for context in received] == [0, 0, 1, 1, 2]  # both branches of each block, the final layer


def test_a_gated_activation_multiplies_two_linear_maps():
    parts.register("activation", "swiglu", version=1)(
        lambda context: Activation(nn.functional.silu, 2.0, gated=True, hidden=1.5)
    )
    mlp = tiny("B", activation="swiglu").blocks[0].mlp
    assert mlp.up.weight.shape == (48, 16) and mlp.down.weight.shape == (16, 24)
    x = torch.randn(2, 16)
    a, b = (x @ mlp.up.weight.T).split(24, dim=-1)
    torch.testing.assert_close(mlp(x), 2 * (nn.functional.silu(a) * b) @ mlp.down.weight.T)
