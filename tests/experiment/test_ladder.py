"""Adjacent letters differ in the declared fields: in the table, and in the modules that are built."""

from dataclasses import asdict, replace

import pytest
import torch
from helpers.contexts import activation
from helpers.tiny_models import awaken, inputs, tiny

from mpdit import DiT, create_model
from mpdit.experiment import parts
from mpdit.experiment.ladder import LADDER, RUNGS
from mpdit.model.attention import Attention, cosine_attention
from mpdit.model.blocks import Block
from mpdit.model.embeddings import TimeEmbedding, time_features
from mpdit.model.layers import Activation, Rows, ZeroLinear, layer_norm, magnitude


def formula(activation: Activation) -> tuple:
    return activation.function, activation.factor


def built(letter: str) -> DiT:
    return tiny(letter, width=64, heads=4, input_size=16, in_channels=4)


def features(model: DiT) -> dict:
    """What the built modules, not the declaration, say about each field of Config."""
    modules = list(model.modules())
    rows = {module.weights for module in modules if isinstance(module, Rows)}
    (attend,) = {module.attend for module in modules if isinstance(module, Attention)}
    (gated,) = {module.gain is not None for module in modules if isinstance(module, ZeroLinear)}
    (time,) = (module for module in modules if isinstance(module, TimeEmbedding))
    block, blocks = model.blocks[0], model.blocks
    norms = [model.final.norm, *(norm for block in blocks for norm in (block.attention_norm, block.mlp_norm))]
    (built_activation,) = {formula(module) for module in modules if isinstance(module, Activation)}
    (activation_name,) = (name for name in parts.names("activation") if formula(activation(name)) == built_activation)
    assert gated == (rows != {"plain"})
    assert (magnitude(time_features(torch.arange(9), time.embeddings)) > 0.99) == (time.embeddings == "mp")
    x, t, y = inputs(model)
    tokens, condition = model.embed(x), model.condition(t, y)
    position = model.position
    shared = position.mean(0).square().sum() / position.square().sum(-1).mean()  # of the energy, by all positions
    with torch.no_grad():  # the stream with the branches shut: what is kept of x by two sums
        shut = [-block.gate_offset + 0 * head for head in block.heads(condition)]
        original, block.heads = block.heads, lambda condition: shut
        kept = (block(tokens, condition) / tokens).median().item()
        block.heads = original
    return {
        "attention": "cosine" if attend is cosine_attention else "dot_product",
        "weights": rows.pop() if len(rows) == 1 else rows,
        "sums": "plain" if kept == pytest.approx(1) else "mp",
        "activation": activation_name,
        "embeddings": "mp" if torch.allclose(magnitude(position, dim=-1), torch.ones(())) else "plain",
        "pos_center": "token" if shared < 0.01 else "feature" if position.mean(1).abs().max() < 1e-5 else "none",
        "gate_offset": {block.gate_offset for block in blocks}.pop(),
        "norm": "+".join({"layer" if norm is layer_norm else "none" for norm in norms}),
        "block": "dit" if {type(block) for block in blocks} == {Block} else "other",
    }  # fmt: skip


@pytest.mark.parametrize("letter", LADDER)
def test_built_modules_have_the_declared_features(letter):
    assert features(built(letter)) == asdict(LADDER[letter])


@pytest.mark.parametrize("letter", list(LADDER)[1:])
def test_adjacent_letters_differ_in_the_declared_fields_alone(letter):
    """In the table, and in what was built: the same parameters and the same buffers, but for the declared features."""
    parent, changes, _ = RUNGS[letter]
    assert letter == f"{parent}-leaky" or ord(letter) - ord(parent) == 1
    assert asdict(LADDER[letter]) == {**asdict(LADDER[parent]), **changes}
    assert all(getattr(LADDER[parent], name) != value for name, value in changes.items())

    own, before = built(letter), built(parent)
    own_features, parent_features = features(own), features(before)
    assert {name for name in own_features if own_features[name] != parent_features[name]} == set(changes)
    shapes, parent_shapes = ({n: p.shape for n, p in model.named_parameters()} for model in (own, before))
    assert {name for name in shapes.keys() ^ parent_shapes.keys() if not name.endswith("gain")} == set()
    assert all(shapes[name] == parent_shapes[name] for name in shapes.keys() & parent_shapes.keys())
    assert torch.equal(own.position, before.position) == (not {"embeddings", "pos_center"} & set(changes))
    if "weights" not in changes:
        assert all(torch.equal(p, before.get_parameter(name)) for name, p in own.named_parameters())


def test_a_field_can_be_replaced_alone():
    """By keyword, as a mapping, or as a Config: the same model."""
    config = replace(LADDER["E"], activation="mp_leaky_relu")
    models = [
        create_model("DiT-Nano/2", "E", activation="mp_leaky_relu", seed=0),
        create_model("DiT-Nano/2", asdict(config), seed=0),
        create_model("DiT-Nano/2", config, seed=0),
    ]
    for model in models:
        assert model.config == config
        assert formula(model.blocks[0].mlp.activation) == formula(activation("mp_leaky_relu"))
    x, t, y = inputs(models[0], count=2)
    outputs = [awaken(model)(x, t, y) for model in models]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
