"""What a part of a study may not do: have state that snapshots do not hold, or share its modules among blocks."""

import pytest
import torch
from helpers.tiny_models import tiny
from torch import nn

from mpdit.experiment import parts
from mpdit.model.attention import softmax_attention
from mpdit.system.errors import UserError


class Scaled(nn.Module):
    """Softmax attention, scaled."""

    def __init__(self, learned: bool):
        super().__init__()
        if learned:
            self.scale = nn.Parameter(torch.ones(()))
        else:
            self.register_buffer("scale", torch.ones(()))

    def forward(self, q, k, v):
        return self.scale * softmax_attention(q, k, v)


SHARED = Scaled(learned=True)


@pytest.mark.parametrize(
    ("factory", "name"),
    [
        (lambda context: Scaled(learned=False), "blocks.0.attention.attend.scale"),
        (lambda context: SHARED, "blocks.1.attention.attend.scale"),
    ],
    ids=["a persistent buffer", "a module of several blocks"],
)
def test_state_that_snapshots_do_not_hold_is_refused(registries, factory, name):
    parts.register("attention", "own", version=1)(factory)
    with pytest.raises(UserError) as error:
        tiny("E", attention="own")
    assert str(error.value).startswith(
        f"{name}: not a parameter of its own, in a model with attention own (version 1, "
    )
    assert str(error.value).endswith("; expected buffers with persistent=False, and modules of its own for each block")
