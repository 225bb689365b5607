"""Config E agrees, gradients included, with one plain function written here from the equations.

The function is EDM2's textbook form (arXiv 2312.02696, appendix B), in which rows are divided by their norm wherever
they are used. It has numbers in place of names: 0.3 and 0.5 are the blends of MP sums, and 0.5964692 is the magnitude
of SiLU of a unit normal.
"""

import math

import pytest
import torch
from helpers.tiny_models import awaken, inputs, tiny


def linear(x, weight):
    return x @ (weight / weight.norm(dim=1, keepdim=True)).T


def blend(x, y, t):
    return ((1 - t) * x + t * y) / math.sqrt((1 - t) ** 2 + t**2)


def silu(x):
    return x * torch.sigmoid(x) / 0.5964692111227136


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def heads(condition, weight, gain):
    """All heads (N, 1, D), from one matrix, each times its own gain."""
    return [g * head.unsqueeze(1) for g, head in zip(gain, linear(condition, weight).chunk(len(gain), -1), strict=True)]


def attention(x, qkv, out, count):
    n, tokens, width = x.shape
    q, k, v = (part.view(n, tokens, count, -1).transpose(1, 2) for part in linear(x, qkv).chunk(3, -1))
    size = width // count
    logits = (unit(q) * math.sqrt(size)) @ (unit(k) * math.sqrt(size)).mT / math.sqrt(size)
    return linear((logits.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width), out)


def plain_e(p: dict, x, t, y, patch: int, depth: int, count: int):
    """The output of Config E with scale and shift; `p` holds the parameters by name."""
    n, channels, size, _ = x.shape
    side, width = size // patch, p["patch_embedding.weight"].shape[0]
    # patches in row-major order, with a constant input 1
    tokens = torch.stack([
        torch.cat((x[:, :, i : i + patch, j : j + patch].flatten(1), torch.ones(n, 1, dtype=x.dtype)), 1)
        for i in range(0, size, patch) for j in range(0, size, patch)
    ], 1)  # fmt: skip
    # positions: sin and cos of rows and columns, centered over positions, then scaled to magnitude one
    frequencies = 1 / 10_000 ** (torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    grid = torch.cartesian_prod(torch.arange(side), torch.arange(side)).double()
    rows, columns = (grid[:, axis, None] * frequencies for axis in (0, 1))
    position = torch.cat((rows.sin(), rows.cos(), columns.sin(), columns.cos()), 1)
    position = unit(position - position.mean(0)) * math.sqrt(width)
    tokens = blend(linear(tokens, p["patch_embedding.weight"]), position, 0.5)
    # the condition
    angles = t[:, None].double() / 10_000 ** (torch.arange(128, dtype=torch.float64) / 128)
    features = torch.cat((angles.cos(), angles.sin()), 1) * math.sqrt(2)
    time = linear(silu(linear(features, p["time_embedding.up.weight"])), p["time_embedding.down.weight"])
    label = unit(p["label_embedding.weight"])[y] * math.sqrt(width)
    condition = silu(blend(time, label, 0.5))
    for i in range(depth):
        w = {name.removeprefix(f"blocks.{i}."): value for name, value in p.items() if name.startswith(f"blocks.{i}.")}
        s1, b1, g1, s2, b2, g2 = heads(condition, w["modulation.weight"], w["modulation.gain"])
        branch = attention((1 + s1) * tokens + b1, w["attention.qkv.weight"], w["attention.out.weight"], count)
        tokens = blend(tokens, (1 + g1) * branch, 0.3)
        branch = linear(silu(linear((1 + s2) * tokens + b2, w["mlp.up.weight"])), w["mlp.down.weight"])
        tokens = blend(tokens, (1 + g2) * branch, 0.3)
    s, b = heads(condition, p["final.modulation.weight"], p["final.modulation.gain"])
    noise, variance = linear((1 + s) * tokens + b, p["final.output.weight"]).chunk(2, -1)
    gains = p["final.output.gain"]
    output = torch.cat((gains[0] * noise, gains[1] * variance), -1).view(n, side, side, 2 * channels, patch, patch)
    return torch.einsum("nijcpq->ncipjq", output).reshape(n, 2 * channels, size, size)


@pytest.mark.parametrize("shape", [{}, {"depth": 3, "width": 48, "heads": 3, "input_size": 8, "in_channels": 4}])
def test_config_e_equals_its_equations(shape):
    model = awaken(tiny("E", **shape)).double().normalize_weights()
    x, t, y = inputs(model, count=4, dtype=torch.float64)
    parameters = {name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()}
    ours = model(x, t, y)
    theirs = plain_e(parameters, x, t, y, model.patch_size, len(model.blocks), model.blocks[0].attention.heads)
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # sinusoids and positions are float32 in the model

    ours.pow(3).sum().backward()
    theirs.pow(3).sum().backward()
    rows = model.sphere_rows()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if name in rows:  # project it onto the sphere's tangent space, as differentiating the division by the norm does
            gradient = gradient - parameter * (parameter * gradient).sum(1, keepdim=True)
        torch.testing.assert_close(gradient, parameters[name].grad, rtol=1e-3, atol=1e-4 * gradient.abs().max().item())
