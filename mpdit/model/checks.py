"""What a model must satisfy to be built: its shape, and what parts of a study do. Each mistake is one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..experiment.parts import Identity, in_words
from ..experiment.study_file import failure_in_study
from ..system.errors import UserError
from .modulation import Modulation

if TYPE_CHECKING:
    from .dit import DiT


def require_shape(
    depth: int, width: int, heads: int, patch_size: int, input_size: int, in_channels: int, num_classes: int
) -> None:
    """Raise UserError unless a model can have these sizes."""
    counts = {"depth": depth, "heads": heads, "patch_size": patch_size, "in_channels": in_channels}
    for name, value in {**counts, "width": width, "input_size": input_size, "num_classes": num_classes}.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} is {value!r}: must be a whole number of at least 1")
    if width % heads:
        raise UserError(f"width is {width}: must be divisible by heads ({heads})")
    if input_size % patch_size:
        raise UserError(f"input_size is {input_size}: must be divisible by patch_size ({patch_size})")


def require_modulation(modulation: Modulation, name: str, width: int) -> None:
    """Raise UserError unless a modulation, and the position encoding, can be had at this width."""
    for head, share in modulation.heads.items():
        if share * width % 1:
            raise UserError(
                f"width is {width}: must give a whole number of outputs to the head {head} of modulation {name}, "
                f"{share:g} per feature"
            )
    if width % 4:
        raise UserError(f"width is {width}: must be divisible by 4 for the position encoding")


def require_parameters_alone(model: nn.Module, own: Identity) -> None:
    """Raise UserError unless all state of a model with these parts of a study is parameters, each under one name.

    Checkpoints and snapshots hold nothing else.
    """
    names = {name for name, _ in model.named_parameters()}
    extra = sorted(model.state_dict().keys() - names)
    if extra:
        raise UserError(
            f"{extra[0]}: not a parameter of its own, in a model with {in_words(own)}; expected buffers with "
            f"persistent=False, and modules of its own for each block"
        )


def require_running(build: Callable[[], DiT], own: Identity) -> None:
    """Raise UserError unless a model with these parts of a study can be built and run.

    It is, on the meta device, where only shapes are computed.
    """
    with torch.device("meta"), torch.no_grad():
        try:
            model = build()
            x = torch.empty(2, model.in_channels, model.input_size, model.input_size)
            index = torch.zeros(2, dtype=torch.int64)
            model(x, index, index)
        except UserError:
            raise
        except Exception as error:
            problem = failure_in_study(error) or f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            raise UserError(f"a model with {in_words(own)} does not run: {problem}") from error
