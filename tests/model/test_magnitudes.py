"""Probes change nothing and record the right magnitudes; weights, gains and correlated latents as documented."""

import math

import pytest
import torch

from mpdit.experiment.ladder import LADDER
from mpdit.model.dit import create_model
from mpdit.model.layers import layer_norm, magnitude
from mpdit.model.magnitudes import Magnitudes, correlated_latents, gains, probes, weight_magnitudes


def tiny(config="E", modulation="scale_shift", active=True):
    """A tiny model; `active` gives the modulation heads nonzero outputs, as after some training."""
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
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 8, 8, generator=random), torch.arange(n) * 100, torch.arange(n) % 10


@pytest.mark.parametrize("modulation", ["scale_shift", "scale_rotate"])
@pytest.mark.parametrize("config", LADDER)
def test_probes_change_neither_outputs_nor_gradients(config, modulation):
    model = tiny(config, modulation)
    plain = model(*inputs())
    plain_gradients = torch.autograd.grad(plain.square().sum(), list(model.parameters()), allow_unused=True)
    with probes(model):
        probed = model(*inputs())
    gradients = torch.autograd.grad(probed.square().sum(), list(model.parameters()), allow_unused=True)
    assert torch.equal(plain, probed)
    assert all(a is b or torch.equal(a, b) for a, b in zip(plain_gradients, gradients, strict=True))


def test_probes_are_removed_after_an_error():
    model = tiny()
    with pytest.raises(ValueError, match="has shape"), probes(model):
        model(torch.zeros(1, 2, 8, 8), *inputs(1)[1:])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("config", ["A", "D", "E"])
def test_every_site_is_measured_where_documented(config):
    model = tiny(config, "scale_rotate")
    x, t, y = inputs()
    with torch.no_grad(), probes(model) as recorded:
        model(x, t, y)
        measured = recorded.pop_all()
        condition = (torch.nn.functional.silu(model.condition(t, y)) / (1 if config == "A" else 0.5964692112)).detach()
        tokens = model.embed(x)
        expected = {(-1, "residual"): tokens}
        for i, block in enumerate(model.blocks):
            heads = dict(zip(block.head_names, block.heads(condition), strict=True))
            for name, layer in (("attention", block.attention), ("mlp", block.mlp)):
                scale, angle, gate = (heads[f"{name}_{part}"] for part in ("scale", "angle", "gate"))
                normalized = tokens if config == "E" else layer_norm(tokens)
                modulated = block.apply_modulation(normalized, (scale, angle), None)
                output = layer(modulated)
                branch = output * (gate + (0 if config == "A" else 1))
                tokens = tokens + branch if config == "A" else (0.7 * tokens + 0.3 * branch) / 0.58**0.5
                sites = {"input": modulated, "output": output, "angle": angle}
                expected.update({(i, f"{name}_{site}"): value for site, value in sites.items()})
            expected[i, "residual"] = tokens
    assert measured.keys() == expected.keys()
    assert measured == pytest.approx({key: float(magnitude(value)) for key, value in expected.items()}, rel=1e-4)
    assert min(measured.values()) > 0.01


def test_magnitudes_are_pooled_over_batches_in_float64():
    magnitudes = Magnitudes()
    magnitudes.add(0, "residual", torch.tensor([2.0**15]))  # its square is 2^30: in float32, adding 20 has no effect
    for _ in range(50):
        magnitudes.add(0, "residual", torch.ones(2, 10))
    assert magnitudes.pop_all() == {(0, "residual"): pytest.approx(((2**30 + 1000) / 1001) ** 0.5, rel=1e-12)}
    assert magnitudes.pop_all() == {}


def test_weight_magnitudes_of_all_configs_share_a_scale():
    for config in "CDE":
        assert weight_magnitudes(tiny(config)) == pytest.approx(dict.fromkeys(weight_magnitudes(tiny(config)), 1.0))
    grown = tiny("C")
    with torch.no_grad():
        grown.blocks[1].mlp.up.weight *= 3
    magnitudes = weight_magnitudes(grown)
    assert magnitudes[1, "mlp.up"] == pytest.approx(3)
    # rows of a block: 3 + 1 (attention), 4 + 1 (mlp) and 6 (modulation) times the width
    assert magnitudes[1, "all"] == pytest.approx(((4 * 9 + 11) / 15) ** 0.5)
    assert magnitudes[0, "all"] == pytest.approx(1)
    plain = tiny("A")
    magnitudes = weight_magnitudes(plain)
    x = torch.randn(4000, 64)
    assert magnitudes[2, "attention.qkv"] == pytest.approx(
        float(magnitude(plain.blocks[2].attention.qkv(x)).detach()), rel=0.02
    )
    assert magnitudes[-1, "label_embedding"] == pytest.approx(0.02, rel=0.1)
    assert magnitudes[3, "output"] == 0


def test_gains_are_named_after_their_heads():
    model = tiny("D", "scale_rotate")
    with torch.no_grad():
        model.final.output.gain.copy_(torch.tensor([0.5, -0.25]))
    by_head = gains(model)
    assert by_head[2, "attention_scale"] == pytest.approx(0.1)
    assert by_head[2, "mlp_gate"] == pytest.approx(0.4)
    assert (by_head[3, "noise"], by_head[3, "variance"], by_head[3, "shift"]) == (0.5, -0.25, 0)
    assert len(by_head) == 3 * 6 + 4
    assert gains(tiny("A")) == {}


@pytest.mark.parametrize("correlation", [0, 0.5, 0.9, 0.99])
def test_correlated_latents_have_the_requested_correlation(correlation):
    """Neighbors have the requested correlation, diagonal neighbors its square, and all values have magnitude 1."""
    x = correlated_latents((4000, 2, 4, 4), correlation, torch.Generator().manual_seed(0)).double()
    error = 5 / math.sqrt(4000)
    assert magnitude(x).item() == pytest.approx(1, abs=error)
    assert (x[..., 1:, :] * x[..., :-1, :]).mean().item() == pytest.approx(correlation, abs=error)
    assert (x[..., 1:] * x[..., :-1]).mean().item() == pytest.approx(correlation, abs=error)
    assert (x[..., 1:, 1:] * x[..., :-1, :-1]).mean().item() == pytest.approx(correlation**2, abs=error)
    assert (x[:, 0] * x[:, 1]).mean().item() == pytest.approx(0, abs=error)
