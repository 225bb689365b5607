"""Config A is DiT: it agrees with an adaLN-Zero transformer written here from the paper (arXiv 2212.09748).

That transformer uses nothing from mpdit but the weights: no layer, and no code that splits fused matrices.
"""

import math

import numpy as np
import pytest
import torch
from helpers.tiny_models import awaken, inputs, tiny
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, bias=False, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=True)[0]  # weights: no fused kernel


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.SiLU(), nn.Linear(4 * width, width, bias=False)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width, bias=False))

    def forward(self, x, c):
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class PlainDiT(nn.Module):
    def __init__(self, depth, width, heads, patch, size, channels, classes):
        super().__init__()
        self.patch, self.channels = patch, channels
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)  # bias: column of the constant input
        self.time = nn.Sequential(nn.Linear(256, width, bias=False), nn.SiLU(), nn.Linear(width, width, bias=False))
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width, bias=False))
        self.output = nn.Linear(width, 2 * channels * patch**2, bias=False)
        self.register_buffer("position", torch.from_numpy(sincos_2d(width, size // patch)).float())

    def forward(self, x, t, y):
        n, _, h, w = x.shape
        x = self.embed(x).flatten(2).transpose(1, 2) + self.position
        frequencies = torch.from_numpy(1 / 10_000 ** (np.arange(128) / 128)).float()
        angles = t[:, None].float() * frequencies
        c = self.time(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1).to(x.dtype)) + self.label(y)
        for block in self.blocks:
            x = block(x, c)
        scale, shift = self.modulation(c)[:, None].chunk(2, dim=-1)
        x = self.output(self.norm(x) * (1 + scale) + shift)
        image = torch.zeros(n, 2 * self.channels, h, w, dtype=x.dtype)
        p = self.patch
        for token in range(x.shape[1]):
            row, column = divmod(token, w // p)
            image[:, :, row * p : row * p + p, column * p : column * p + p] = x[:, token].view(n, -1, p, p)
        return image


def sincos_2d(width: int, side: int) -> np.ndarray:
    """The encoding (T, D), computed one position and feature at a time."""
    table = np.zeros((side * side, width))
    quarter = width // 4
    for row in range(side):
        for column in range(side):
            for i in range(quarter):
                frequency = 1 / 10_000 ** (i / quarter)
                features = [f(axis * frequency) for axis in (row, column) for f in (math.sin, math.cos)]
                table[row * side + column, i::quarter] = features
    return table


def transplant(model, plain: PlainDiT) -> None:
    """Copy the weights of `model` into `plain`."""
    with torch.no_grad():
        p, c = model.patch_size, model.in_channels
        plain.embed.weight.copy_(model.patch_embedding.weight[:, :-1].view(-1, c, p, p))
        plain.embed.bias.copy_(model.patch_embedding.weight[:, -1])
        plain.time[0].weight.copy_(model.time_embedding.up.weight)
        plain.time[2].weight.copy_(model.time_embedding.down.weight)
        plain.label.weight.copy_(model.label_embedding.weight)
        for theirs, ours in zip(plain.blocks, model.blocks, strict=True):
            theirs.attention.attention.in_proj_weight.copy_(ours.attention.qkv.weight)
            theirs.attention.attention.out_proj.weight.copy_(ours.attention.out.weight)
            theirs.mlp[0].weight.copy_(ours.mlp.up.weight)
            theirs.mlp[2].weight.copy_(ours.mlp.down.weight)
            theirs.modulation[1].weight.copy_(ours.modulation.weight)
        plain.modulation[1].weight.copy_(model.final.modulation.weight)
        plain.output.weight.copy_(model.final.output.weight)


@pytest.mark.parametrize("shape", [{}, {"depth": 3, "width": 48, "heads": 3, "input_size": 8, "in_channels": 4}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_config_a_is_dit(shape, dtype, tolerance):
    model = awaken(tiny("A", **shape), size=1.0).to(dtype)
    heads = model.blocks[0].attention.heads
    plain = PlainDiT(
        len(model.blocks), model.width, heads, model.patch_size, model.input_size, model.in_channels, model.num_classes
    )
    plain.to(dtype)
    transplant(model, plain)
    x, t, y = inputs(model, count=5, dtype=dtype)
    ours, theirs = model(x, t, y), plain(x, t, y)
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * theirs.abs().max().item())

    ours.square().sum().backward()
    theirs.square().sum().backward()
    for own, other in (
        (model.blocks[0].attention.qkv.weight.grad, plain.blocks[0].attention.attention.in_proj_weight.grad),
        (model.blocks[1].modulation.weight.grad, plain.blocks[1].modulation[1].weight.grad),
        (model.patch_embedding.weight.grad[:, -1], plain.embed.bias.grad),
        (model.label_embedding.weight.grad, plain.label.weight.grad),
    ):
        assert own.abs().max() > 1e-4
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5 * own.abs().max().item())
