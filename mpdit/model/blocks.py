"""The parts of the model that the condition modulates: the blocks, and the final layer."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..experiment.parts import provide
from .attention import Attention
from .building import PartContext, build
from .layers import MLP, Rows, Sums, ZeroLinear
from .modulation import Modulation, scale_shift


class Block(nn.Module):
    """Attention, then an MLP, each modulated by the condition and added to the residual stream.

    x <- x (+) gate * layer(modulate(norm(x))), with gate = gate_offset + head. `modulation` holds the heads of both
    branches in one matrix; `head_names` names its parts in the order of `modulation.sizes` and `modulation.gain`.
    """

    attention_base: Rows | None
    mlp_base: Rows | None

    def __init__(self, context: PartContext):
        super().__init__()
        width, fields = context.width, context.fields
        kind: Modulation = build("modulation", context)
        self.apply_modulation, self.gate_offset = kind.apply, fields.gate_offset
        sizes = {**{name: int(share * width) for name, share in kind.heads.items()}, "gate": width}
        self.head_names = tuple(f"{branch}_{name}" for branch in ("attention", "mlp") for name in sizes)
        self.modulation = ZeroLinear(width, 2 * tuple(sizes.values()), fields.weights)
        self.attention_norm, self.mlp_norm = build("norm", context), build("norm", context)
        self.attention, self.mlp = Attention(context), MLP(context)
        attention_sum: Sums = build("sums", context)
        mlp_sum: Sums = build("sums", context)
        self.attention_sum, self.mlp_sum = attention_sum.residual, mlp_sum.residual
        self.attention_base = self.mlp_base = None
        if kind.base:
            self.attention_base = Rows(kind.base, width, fields.weights, initial="unit")
            self.mlp_base = Rows(kind.base, width, fields.weights, initial="unit")

    def heads(self, condition: Tensor) -> tuple[Tensor, ...]:
        """The outputs of all heads in the order of `head_names`, each (N, 1, outputs); zero at initialization."""
        return self.modulation(condition).unsqueeze(1).split(self.modulation.sizes, dim=-1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens x (N, T, D) and the activated condition (N, D) -> tokens (N, T, D)."""
        heads = self.heads(condition)
        half = len(heads) // 2
        *parameters, gate = heads[:half]
        y = self.attention(self._modulated(self.attention_norm(x), parameters, self.attention_base))
        x = self.attention_sum(x, y, self._offset(gate))
        *parameters, gate = heads[half:]
        y = self.mlp(self._modulated(self.mlp_norm(x), parameters, self.mlp_base))
        return self.mlp_sum(x, y, self._offset(gate))

    def _modulated(self, x: Tensor, parameters: Sequence[Tensor], base: Rows | None) -> Tensor:
        return self.apply_modulation(x, parameters, None if base is None else base.rows())

    def _offset(self, gate: Tensor) -> Tensor:
        return gate + self.gate_offset if self.gate_offset else gate


@provide("block", "dit")
def _dit(context: PartContext) -> Block:
    return Block(context)


class FinalLayer(nn.Module):
    """Tokens (N, T, D) -> patches (N, T, 2 C p^2): the noise prediction, then the variance; zero at initialization.

    Modulated by scale and shift whatever the modulation, as rotation replaces the shift heads of the blocks only.
    """

    def __init__(self, context: PartContext, values: int):
        super().__init__()
        width, weights = context.width, context.weights
        self.norm = build("norm", context)
        self.modulation = ZeroLinear(width, (width, width), weights)
        self.output = ZeroLinear(width, (values, values), weights)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        heads = self.modulation(condition).unsqueeze(1).chunk(2, dim=-1)
        return self.output(scale_shift(self.norm(x), heads))
