"""Embeddings of labels, timesteps and positions, plain (as in DiT) or of unit magnitude (paper, section 3)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .building import PartContext, build
from .layers import Activation, Linear, Rows, unit_rows

TIME_FEATURES = 256


class Embedding(Rows):
    """A table of `count` vectors: (N,) int64 -> (N, D). Rows of norm 1 are multiplied by sqrt(D): magnitude 1."""

    def __init__(self, count: int, width: int, weights: str) -> None:
        super().__init__(count, width, weights, initial="normal")

    def forward(self, index: Tensor) -> Tensor:
        rows = F.embedding(index, self.weight)
        if self.weights == "plain":
            return rows
        return (unit_rows(rows) if self.weights == "normalized" else rows) * self.weight.shape[1] ** 0.5


def time_features(t: Tensor, embeddings: str) -> Tensor:
    """Sinusoids of timesteps t (N,) -> (N, 256) float32; `mp` multiplies by sqrt(2): magnitude 1 exactly."""
    half = TIME_FEATURES // 2
    # In float64, because an angle is up to 1000 times a frequency, and so is its error.
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=torch.float64) * (-math.log(10_000) / half))
    angles = t.float().unsqueeze(-1) * frequencies.float()
    features = torch.cat((angles.cos(), angles.sin()), dim=-1)
    return features * math.sqrt(2) if embeddings == "mp" else features


class TimeEmbedding(nn.Module):
    """Timesteps (N,) -> (N, D): sinusoids through two linear layers."""

    def __init__(self, context: PartContext) -> None:
        super().__init__()
        width, weights = context.width, context.weights
        self.embeddings = context.fields.embeddings
        self.up = Linear(TIME_FEATURES, width, weights, initial="normal")
        self.activation: Activation = build("activation", context)
        self.down = Linear(width, width, weights, initial="normal")

    def forward(self, t: Tensor) -> Tensor:
        features = time_features(t, self.embeddings).to(self.up.weight.dtype)
        return self.down(self.activation(self.up(features)))


def position_encoding(side: int, width: int, pos_center: str, embeddings: str) -> Tensor:
    """Fixed 2-D sinusoids for a grid of side x side tokens in row-major order: (T, D) float32.

    A quarter of the features each for sin and cos of row and column. `pos_center` subtracts the mean over features
    (`feature`) or over positions (`token`; a single token keeps its encoding). `mp` embeddings scale each position to
    magnitude 1.
    """
    quarter = width // 4
    frequencies = torch.exp(torch.arange(quarter, dtype=torch.float64) * (-math.log(10_000) / quarter))
    angles = torch.arange(side, dtype=torch.float64).unsqueeze(-1) * frequencies  # (side, D/4)
    axis = torch.cat((angles.sin(), angles.cos()), dim=-1)  # (side, D/2)
    grid = (side, side, 2 * quarter)
    encoding = torch.cat((axis.unsqueeze(1).expand(grid), axis.unsqueeze(0).expand(grid)), dim=-1).flatten(0, 1)
    if pos_center == "feature":
        encoding = encoding - encoding.mean(dim=1, keepdim=True)
    elif pos_center == "token" and side > 1:
        encoding = encoding - encoding.mean(dim=0, keepdim=True)
    if embeddings == "mp":
        encoding = F.normalize(encoding, dim=-1) * width**0.5
    return encoding.float()
