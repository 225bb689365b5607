"""Tiny models for tests, and random values for heads and gains, whose zeros would hide what they multiply."""

from dataclasses import asdict

import torch

from mpdit.experiment.ladder import LADDER, MODULATIONS
from mpdit.model.dit import DiT
from mpdit.system.seeds import generator

GRID = [(config, modulation) for config in LADDER for modulation in MODULATIONS]


def tiny(config: str = "E", modulation: str = "scale_shift", seed: int = 0, **changes) -> DiT:
    """A DiT with two blocks, four tokens and three classes, whose weights are a function of `seed`."""
    shape = {"depth": 2, "width": 16, "heads": 2, "patch_size": 2, "input_size": 4, "in_channels": 2, "num_classes": 3}
    fields = {**shape, "modulation": modulation, **asdict(LADDER[config]), **changes}
    return DiT(**fields).initialize(seed)


@torch.no_grad()
def awaken(model: DiT, size: float = 0.3) -> DiT:
    """Give gains, weights that start at zero, and the small embeddings of Configs A and B values that have an effect.

    The values are functions of the parameters' names. Heads get a magnitude of about `size`, the condition of Configs
    A and B one of about 1.
    """
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator("awaken", name))
        if name.endswith("gain"):
            parameter.copy_(size * values)
        elif model.config.weights == "plain" and name.startswith("label_embedding"):
            parameter.copy_(values)
        elif model.config.weights == "plain" and name.startswith("time_embedding"):
            parameter.copy_(values / parameter.shape[1] ** 0.5)
        elif not parameter.any():
            parameter.copy_(size * values / parameter.shape[1] ** 0.5)
    return model


def inputs(model: DiT, count: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32):
    """Inputs (x, t, y) for `model`: unit-normal latents, random timesteps and labels, the last label null."""
    random = generator(seed, "inputs")
    x = torch.randn(count, model.in_channels, model.input_size, model.input_size, generator=random, dtype=torch.float64)
    t = torch.randint(1000, (count,), generator=random)
    y = torch.randint(model.num_classes, (count,), generator=random)
    y[-1] = model.num_classes
    return x.to(dtype), t, y
