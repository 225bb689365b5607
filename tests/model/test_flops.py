"""FLOPs by module and in all agree with the formulas of matrix products and attention."""

import pytest
import torch
from helpers.tiny_models import GRID, tiny

from mpdit import create_model
from mpdit.experiment.ladder import LADDER
from mpdit.model.attention import Attention
from mpdit.model.flops import flops, flops_by_module
from mpdit.model.layers import Linear


@pytest.mark.parametrize("config", LADDER)
def test_flops_of_every_config_follow_the_formula(config):
    tokens, width, depth, values, frequencies = 16, 64, 3, 4, 256
    block = 12 * tokens * width**2 + 2 * tokens**2 * width + 6 * width**2  # qkv, out, MLP; attention; modulation
    embedding = tokens * (values + 1) * width + frequencies * width + width**2
    final = 2 * width**2 + tokens * width * 2 * values
    model = create_model("DiT-Nano/2", config, "scale_shift", input_size=8, in_channels=1, num_classes=10)
    assert flops(model) == 2 * (depth * block + embedding + final)


@pytest.mark.parametrize("name", ["DiT-S/2", "DiT-B/4"])
def test_flops_of_large_models_follow_the_formula(name):
    with torch.device("meta"):
        model = create_model(name, "E", "scale_shift")
    d, tokens, patch = model.width, model.position.shape[0], model.patch_size**2 * 4
    block = 24 * tokens * d**2 + 4 * tokens**2 * d + 12 * d**2
    embeddings = 2 * tokens * (patch + 1) * d + 2 * 256 * d + 2 * d**2
    final = 4 * d**2 + 4 * tokens * d * patch
    assert flops(model) == 12 * block + embeddings + final


@pytest.mark.parametrize(("config", "modulation"), GRID)
def test_the_total_is_the_sum_over_linear_layers_and_attention(config, modulation):
    with torch.device("meta"):
        model = tiny(config, modulation, depth=3, input_size=8)
    counted, names = flops_by_module(model), {module: name for name, module in model.named_modules()}
    own = {}

    def count(module, inputs, output):
        (x, *_) = inputs
        if isinstance(module, Attention):
            products = 4 * x.shape[1] * x[0].numel()
            assert counted[names[module]] == products + sum(own[part] for part in module.modules() if part in own)
            own[module] = products
        else:
            own[module] = 2 * module.weight.numel() * (x.numel() // x.shape[-1])
            assert counted[names[module]] == own[module]

    for module in model.modules():
        if isinstance(module, Attention | Linear):
            module.register_forward_hook(count)
    index = torch.empty(1, dtype=torch.int64, device="meta")
    model(torch.empty(1, model.in_channels, 8, 8, device="meta"), index, index)
    assert sum(own.values()) == counted[""]
    for i, block in enumerate(model.blocks):
        assert counted[f"blocks.{i}"] == sum(own[part] for part in block.modules() if part in own)


def test_counting_leaves_the_model_where_it_is():
    model = tiny()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.device("meta"):
        on_meta = tiny()
    assert flops(model) == flops(on_meta) > 0
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
