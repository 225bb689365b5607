"""Expected magnitudes M[x] = sqrt(mean of x^2) (paper, Definition 1) of activations and weights in a DiT.

Parts of the model are numbered: block -1 is everything before the blocks (embeddings), 0 to depth - 1 are the blocks,
and depth is the final layer. The sites of activations in each block:

    residual                            output of the block; for block -1, the embedded input
    attention_input, mlp_input          input of the layer, after normalization and modulation
    attention_output, mlp_output        output of the layer, before the gate
    attention_angle, mlp_angle          rotation angles in radians, for modulations with angles; zero at initialization
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from .blocks import Block
from .dit import DiT
from .embeddings import Embedding
from .layers import Rows, ZeroLinear

FINAL_HEADS = {"final.modulation": ("scale", "shift"), "final.output": ("noise", "variance")}


class Magnitudes:
    """Sums of squares by (block, site) over any number of batches, in float64 on the activations' device."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, str], Tensor | float] = defaultdict(float)
        self._counts: dict[tuple[int, str], int] = defaultdict(int)

    def add(self, block: int, site: str, x: Tensor) -> None:
        """Add all values of x, of any shape. Does not synchronize with the device."""
        self._sums[block, site] += torch.linalg.vector_norm(x.detach(), dtype=torch.float64).square()
        self._counts[block, site] += x.numel()

    def pop_all(self) -> dict[tuple[int, str], float]:
        """M by (block, site) over everything added so far; then forget it."""
        magnitudes = {key: math.sqrt(float(self._sums[key]) / count) for key, count in sorted(self._counts.items())}
        self._sums.clear()
        self._counts.clear()
        return magnitudes


@contextmanager
def probes(model: DiT) -> Iterator[Magnitudes]:
    """Record the magnitudes at every site of `model`, not compiled, while it runs inside the context.

    The hooks only read, so the model's outputs are bit-identical to those without probes. Afterwards they are removed.
    """
    magnitudes, blocks = Magnitudes(), cast(Sequence[Block], model.blocks)
    hooks = [blocks[0].register_forward_pre_hook(_input_hook(magnitudes, -1, "residual"))]
    for i, block in enumerate(blocks):
        hooks.append(block.register_forward_hook(_output_hook(magnitudes, i, "residual")))
        if not isinstance(block, Block):  # of a study, with sites of its own
            continue
        hooks.append(block.modulation.register_forward_hook(_angle_hook(magnitudes, i, block)))
        for name in ("attention", "mlp"):
            layer = getattr(block, name)
            hooks.append(layer.register_forward_pre_hook(_input_hook(magnitudes, i, f"{name}_input")))
            hooks.append(layer.register_forward_hook(_output_hook(magnitudes, i, f"{name}_output")))
    try:
        yield magnitudes
    finally:
        for hook in hooks:
            hook.remove()


def _input_hook(magnitudes: Magnitudes, block: int, site: str) -> Callable[[nn.Module, Any], None]:
    return lambda module, inputs: magnitudes.add(block, site, inputs[0])


def _output_hook(magnitudes: Magnitudes, block: int, site: str) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, inputs, output: magnitudes.add(block, site, output)


def _angle_hook(magnitudes: Magnitudes, i: int, block: Block) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        for name, head in zip(block.head_names, output.split(block.modulation.sizes, dim=-1), strict=True):
            if name.endswith("_angle"):
                magnitudes.add(i, name, head)

    return hook


@torch.no_grad()
def weight_magnitudes(model: DiT) -> dict[tuple[int, str], float]:
    """Magnitudes of weight matrices by (block, path of the module within it), and of all matrices of a block as `all`.

    The magnitude is the root mean square norm of the stored rows, divided by the norm of rows that preserve magnitude
    (Lemma 3), so that configurations share a scale: 1 for forced rows, the growth since initialization for normalized
    rows (Config C), and the factor by which plain rows change magnitude (for an embedding table, the magnitude of its
    rows).
    """
    magnitudes: dict[tuple[int, str], float] = {}
    squares: dict[int, float] = defaultdict(float)
    rows: dict[int, int] = defaultdict(int)
    for path, module in model.named_modules():
        if isinstance(module, Rows):
            block, site = _locate(model, path)
            count, n = module.weight.shape
            plain_table = isinstance(module, Embedding) and module.weights == "plain"
            unit = n if module.weights == "normalized" or plain_table else 1
            square = float(module.weight.double().square().sum()) / unit
            magnitudes[block, site] = math.sqrt(square / count)
            squares[block] += square
            rows[block] += count
    magnitudes.update({(block, "all"): math.sqrt(squares[block] / rows[block]) for block in rows})
    return dict(sorted(magnitudes.items()))


@torch.no_grad()
def gains(model: DiT) -> dict[tuple[int, str], float]:
    """The learned gains, with their signs, by (block, name of the head). Plain weights (Configs A and B) have none."""
    blocks = cast(Sequence[Block], model.blocks)
    by_head: dict[tuple[int, str], float] = {}
    for path, module in model.named_modules():
        if isinstance(module, ZeroLinear) and module.gain is not None:
            block, site = _locate(model, path)
            names: Sequence[str] = [f"{site}.{index}" for index in range(len(module.gain))]  # of a study's part
            if path in FINAL_HEADS:
                names = FINAL_HEADS[path]
            elif site == "modulation" and isinstance(blocks[block], Block):
                names = blocks[block].head_names
            by_head.update({(block, name): gain for name, gain in zip(names, module.gain.tolist(), strict=True)})
    return by_head


def _locate(model: DiT, path: str) -> tuple[int, str]:
    """Block and path within it of a module: "blocks.3.mlp.up" -> (3, "mlp.up")."""
    part, _, rest = path.partition(".")
    if part == "blocks":
        index, _, rest = rest.partition(".")
        return int(index), rest
    return (len(model.blocks), rest) if part == "final" else (-1, path)


def correlated_latents(shape: tuple[int, ...], correlation: float, generator: torch.Generator) -> Tensor:
    """Normal values (N, C, H, W) of magnitude 1 whose neighbors in a row or column have the given correlation.

    Two pixels have `correlation` to the power of their distance in rows plus columns (a separable autoregressive
    process). Images and channels are independent.
    """
    distance = (torch.arange(shape[-1]).unsqueeze(0) - torch.arange(shape[-1]).unsqueeze(1)).abs().double()
    root = torch.linalg.cholesky(correlation**distance).float()
    return root @ torch.randn(shape, generator=generator) @ root.T
