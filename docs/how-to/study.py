"""Parts of one's own, beside those of the paper: `study: study.py` in a configuration names this file."""

from mpdit import study


@study.activation("swiglu", version=1, hidden=8 / 3)
def swiglu(context, hidden):
    """SwiGLU (Shazeer, arXiv 2002.05202) at unit magnitude, with as many weights as an MLP of four times the width."""
    from torch.nn.functional import silu

    from mpdit.model.layers import SILU_RMS, Activation

    return Activation(silu, 1 / SILU_RMS, gated=True, hidden=hidden)


@study.attention("qk_norm", version=1)
def qk_norm(context):
    """Normalized queries and keys with learned scales (Dehghani et al., arXiv 2302.05442)."""
    import torch
    from torch import nn

    from mpdit.model.attention import softmax_attention, unit_magnitude

    class QKNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = nn.Parameter(torch.ones(2, context.width // context.heads))

        def forward(self, q, k, v):
            q_scale, k_scale = self.scales
            return softmax_attention(unit_magnitude(q) * q_scale, unit_magnitude(k) * k_scale, v)

    return QKNorm()


@study.attention("rope", version=1, base=100.0)
def rope(context, base):
    """Cosine attention with rotary positions (Su et al., arXiv 2104.09864), half of each head by row."""
    import torch
    from torch import nn

    from mpdit.model.attention import cosine_attention
    from mpdit.model.modulation import rotate

    count = context.width // context.heads // 4
    frequencies = base ** (-torch.arange(count) / count)
    angles = torch.arange(context.side).unsqueeze(-1) * frequencies  # (side, count)
    grid = (context.side, context.side, count)
    by_token = torch.cat((angles.unsqueeze(1).expand(grid), angles.unsqueeze(0).expand(grid)), dim=-1)

    class Rope(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("angles", by_token.view(context.tokens, 1, 2 * count), persistent=False)

        def forward(self, q, k, v):
            return cosine_attention(rotate(q, self.angles), rotate(k, self.angles), v)

    return Rope()


@study.block("registers", version=1, count=4)
def registers(context, count):
    """A block whose attention and MLP see a few learned tokens beside those of the image (arXiv 2309.16588)."""
    import torch

    from mpdit.model.blocks import Block
    from mpdit.model.layers import Rows

    class Registers(Block):
        def __init__(self):
            super().__init__(context)
            self.registers = Rows(count, context.width, context.weights, initial="unit")

        def forward(self, x, condition):
            own = self.registers.rows() * context.width**0.5  # of magnitude 1
            tokens = torch.cat((x, own.to(x.dtype).expand(len(x), -1, -1)), dim=1)
            return super().forward(tokens, condition)[:, : x.shape[1]]

    return Registers()
