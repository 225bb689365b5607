"""Probes change nothing and measure what they say."""

import pytest
import torch

from mpdit.experiment.ladder import LADDER
from mpdit.model.dit import create_model
from mpdit.model.layers import layer_norm, magnitude
from mpdit.model.magnitudes import Magnitudes, gains, probes, weight_magnitudes


def tiny(config="E", modulation="scale_shift", active=True):
    """A tiny model; `active` gives the modulation heads something to say, as after some training."""
    model = create_model("DiT-Nano/2", config, modulation, input_size=8, in_channels=1, num_classes=10, seed=0)
    if active:
        with torch.no_grad():
            for block in model.blocks:
                if block.modulation.gain is None:
                    block.modulation.weight.normal_(std=1.0)
                else:
                    block.modulation.gain.copy_(torch.linspace(0.1, 0.4, len(block.head_names)))
    return model


def inputs(n=6):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 8, 8, generator=draw), torch.arange(n) * 100, torch.arange(n) % 10


@pytest.mark.parametrize("modulation", ["scale_shift", "scale_rotate"])
@pytest.mark.parametrize("letter", LADDER)
def test_probes_change_nothing(letter, modulation):
    model = tiny(letter, modulation)
    plain = model(*inputs())
    plain_gradients = torch.autograd.grad(plain.square().sum(), list(model.parameters()), allow_unused=True)
    with probes(model):
        probed = model(*inputs())
    gradients = torch.autograd.grad(probed.square().sum(), list(model.parameters()), allow_unused=True)
    assert torch.equal(plain, probed)
    assert all(a is b or torch.equal(a, b) for a, b in zip(plain_gradients, gradients, strict=True))


def test_probes_leave_nothing_behind():
    model = tiny()
    with pytest.raises(ValueError, match="has shape"), probes(model):
        model(torch.zeros(1, 2, 8, 8), *inputs(1)[1:])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("letter", ["A", "D", "E"])
def test_every_site_is_what_it_says(letter):
    model = tiny(letter, "scale_rotate")
    x, t, y = inputs()
    with torch.no_grad(), probes(model) as found:
        model(x, t, y)
        measured = found.take()
        condition = (torch.nn.functional.silu(model.condition(t, y)) / (1 if letter == "A" else 0.5964692112)).detach()
        tokens = model.embed(x)
        expected = {(-1, "residual"): tokens}
        for i, block in enumerate(model.blocks):
            heads = dict(zip(block.head_names, block.heads(condition), strict=True))
            for name, layer in (("attention", block.attention), ("mlp", block.mlp)):
                scale, angle, gate = (heads[f"{name}_{part}"] for part in ("scale", "angle", "gate"))
                normalised = tokens if letter == "E" else layer_norm(tokens)
                modulated = block.apply_modulation(normalised, (scale, angle), None)
                output = layer(modulated)
                branch = output * (gate + (0 if letter == "A" else 1))
                tokens = tokens + branch if letter == "A" else (0.7 * tokens + 0.3 * branch) / 0.58**0.5
                sites = {"input": modulated, "output": output, "angle": angle}
                expected.update({(i, f"{name}_{site}"): value for site, value in sites.items()})
            expected[i, "residual"] = tokens
    assert measured.keys() == expected.keys()
    assert measured == pytest.approx({key: float(magnitude(value)) for key, value in expected.items()}, rel=1e-4)
    assert min(measured.values()) > 0.01


def test_magnitudes_are_pooled_over_batches_in_float64():
    found = Magnitudes()
    found.add(0, "residual", torch.tensor([2.0**15]))  # its square is 2^30: in float32, adding 20 does nothing
    for _ in range(50):
        found.add(0, "residual", torch.ones(2, 10))
    assert found.take() == {(0, "residual"): pytest.approx(((2**30 + 1000) / 1001) ** 0.5, rel=1e-12)}
    assert found.take() == {}


def test_weights_of_all_letters_share_a_scale():
    for letter in "CDE":
        assert weight_magnitudes(tiny(letter)) == pytest.approx(dict.fromkeys(weight_magnitudes(tiny(letter)), 1.0))
    grown = tiny("C")
    with torch.no_grad():
        grown.blocks[1].mlp.up.weight *= 3
    found = weight_magnitudes(grown)
    assert found[1, "mlp.up"] == pytest.approx(3)
    # rows of a block: 3 + 1 (attention), 4 + 1 (mlp) and 6 (modulation) times the width
    assert found[1, "all"] == pytest.approx(((4 * 9 + 11) / 15) ** 0.5)
    assert found[0, "all"] == pytest.approx(1)
    plain = tiny("A")
    found = weight_magnitudes(plain)
    x = torch.randn(4000, 64)
    assert found[2, "attention.qkv"] == pytest.approx(
        float(magnitude(plain.blocks[2].attention.qkv(x)).detach()), rel=0.02
    )
    assert found[-1, "label_embedding"] == pytest.approx(0.02, rel=0.1)
    assert found[3, "output"] == 0


def test_gains_are_named_by_their_heads():
    model = tiny("D", "scale_rotate")
    with torch.no_grad():
        model.final.output.gain.copy_(torch.tensor([0.5, -0.25]))
    found = gains(model)
    assert found[2, "attention_scale"] == pytest.approx(0.1)
    assert found[2, "mlp_gate"] == pytest.approx(0.4)
    assert (found[3, "noise"], found[3, "variance"], found[3, "shift"]) == (0.5, -0.25, 0)
    assert len(found) == 3 * 6 + 4
    assert gains(tiny("A")) == {}
