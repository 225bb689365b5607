"""How a model is put together from registered parts: what the factory of a part receives and what it returns.

A factory is called once for each place in the model where its part goes, as factory(context, **options), and returns

    activation   a `layers.Activation`, for the MLPs, the time embedding and the condition
    norm         norm(x) -> y                        x, y (N, T, D); for each branch of a block, and the final layer
    attention    attend(q, k, v) -> y                all (N, T, H, D/H); the projections before and after are ours
    sums         a `layers.Sums`: of the residual stream with a branch, and of two embeddings
    modulation   a `modulation.Modulation`           heads, and a function of x and their outputs
    block        block(x, condition) -> y            x, y (N, T, D), condition (N, D); an nn.Module, such as a subclass
                                                     of `blocks.Block`

with N images, T tokens, D features and H heads. A function is enough for a part without parameters. One with parameters
is an nn.Module:

- Its matrices are `layers.Linear` (or `Rows`, `ZeroLinear`) with `weights=context.weights`. They are then normalized as
  the configuration says, in forced weight normalization too, get the learning rate of their fan-in, are initialized
  from the run's seed, and appear among the traced magnitudes. A plain nn.Linear is trained as stored, at the run's own
  rate.
- Other parameters (scales, gains) keep the values that the module gives them and are trained at the run's own rate.
- Buffers are registered with `persistent=False`, because checkpoints and snapshots hold parameters alone.
- It must run on the meta device, on which shapes are checked and operations counted.
"""

from dataclasses import dataclass
from typing import Any

from ..experiment import parts
from ..experiment.ladder import Config


@dataclass(frozen=True)
class PartContext:
    """What the factory of a part receives: the shape of the model, its configuration, and where in it the part goes."""

    width: int  # features of a token, D
    heads: int  # of attention, H
    side: int  # tokens per row and column of the grid, so that T is its square
    depth: int  # number of blocks
    block: int  # the block that the part goes into, from 0; -1: before the blocks; `depth`: the final layer
    fields: Config  # the fields of the configuration
    modulation: str

    @property
    def tokens(self) -> int:
        """Number of tokens of an image, T."""
        return self.side**2

    @property
    def weights(self) -> str:
        """How matrices are stored and used: the argument of that name of `layers.Linear`."""
        return self.fields.weights


def build(kind: str, context: PartContext) -> Any:
    """A new part of a kind: the one that the configuration of the model chooses."""
    name = context.modulation if kind == "modulation" else getattr(context.fields, kind)
    part = parts.find(kind, name)
    assert part.factory is not None, f"mpdit.model provides no {kind} {name}"
    return part.factory(context, **part.options)
