"""At initialization, A and B are the identity, E never raises magnitude, and conditions have magnitude one."""

import pytest
import torch
from helpers.tiny_models import inputs, tiny

from mpdit import DiT
from mpdit.experiment.ladder import MODULATIONS
from mpdit.model.layers import magnitude


def model_of_size(config: str, depth: int, width: int, heads: int, input_size: int = 16, **changes) -> DiT:
    shape = {"depth": depth, "width": width, "heads": heads, "patch_size": 2, "input_size": input_size}
    return tiny(config, **{**shape, "in_channels": 4, "num_classes": 10, **changes})


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("config", ["A", "B"])
def test_blocks_of_a_and_b_start_as_the_identity(config, modulation):
    model = tiny(config, modulation)
    x, t, y = inputs(model)
    tokens, condition = model.embed(x), model.condition(t, y)
    for block in model.blocks:
        assert torch.equal(block(tokens, condition), tokens)
    assert not model(x, t, y).any()


@pytest.mark.parametrize("config", ["C", "D", "E"])
def test_magnitude_preserving_configs_start_with_zero_output_and_open_gates(config):
    model = tiny(config, "scale_rotate")
    x, t, y = inputs(model)
    assert not model(x, t, y).any()
    assert all(not head.any() for block in model.blocks for head in block.heads(model.condition(t, y)))
    assert {block.gate_offset for block in model.blocks} == {1.0}


@torch.no_grad()
def residual_magnitudes(model: DiT, count: int) -> list[float]:
    """Magnitude of the residual stream after the embedding and after each block, for unit-normal latents."""
    x, t, y = inputs(model, count)
    tokens, condition = model.embed(x), model.activation(model.condition(t, y))
    magnitudes = [magnitude(tokens).item()]
    for block in model.blocks:
        tokens = block(tokens, condition)
        magnitudes.append(magnitude(tokens).item())
    return magnitudes


@pytest.mark.parametrize(
    ("depth", "width", "heads", "modulation", "least"),
    [
        (6, 256, 4, "scale_shift", 0.55),
        (6, 256, 4, "scale_rotate", 0.55),
        (6, 256, 4, "rotate_full", 0.55),
        (12, 384, 6, "scale_shift", 0.35),
        (28, 256, 4, "scale_shift", 0.14),
    ],
)
def test_e_never_raises_magnitude(depth, width, heads, modulation, least):
    """With 64 tokens: at most 1.05 in any block; 0.63, 0.41, 0.2 at depth 6, 12, 28, as attention averages tokens."""
    magnitudes = residual_magnitudes(model_of_size("E", depth, width, heads, modulation=modulation), count=4)
    assert max(magnitudes) <= 1.05
    assert magnitudes[-1] >= least
    assert magnitudes[-1] <= least + 0.12


@pytest.mark.parametrize(("depth", "width", "heads"), [(6, 256, 4), (12, 384, 6), (28, 384, 6)])
def test_e_preserves_magnitude_if_attention_is_the_identity(depth, width, heads):
    """A single token attends only to itself; everything else preserves magnitude, up to the draw of the weights."""
    magnitudes = residual_magnitudes(model_of_size("E", depth, width, heads, input_size=2), count=32)
    assert 0.85 <= min(magnitudes) <= max(magnitudes) <= 1.2


@pytest.mark.parametrize("config", ["C", "D", "E"])
def test_condition_has_unit_magnitude(config):
    """Over timesteps and labels, within 10 % for one draw of the weights at width 256."""
    model = model_of_size(config, 1, 256, 4)
    t, y = torch.arange(0, 1000, 10), torch.arange(100) % 11
    assert magnitude(model.condition(t, y)).item() == pytest.approx(1, abs=0.1)
