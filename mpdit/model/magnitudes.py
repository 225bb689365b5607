"""Expected magnitudes M[x] = sqrt(mean of x^2) (paper, Definition 1) inside a DiT, and of its weights.

Parts of the model are numbered as `block`: -1 is what stands before the blocks (embeddings), 0 to depth - 1 the blocks,
depth the final layer. Sites of activations, in each block:

    residual                            the block's output; of block -1 the embedded input
    attention_input, mlp_input          after normalisation and modulation: what the layer really gets
    attention_output, mlp_output        before the gate
    attention_angle, mlp_angle          in radians, of the modulations that turn pairs; zero at the start
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .layers import Embedding, Rows, ZeroLinear

FINAL_HEADS = {"final.modulation": ("scale", "shift"), "final.output": ("noise", "variance")}


class Magnitudes:
    """Sums of squares by (block, site), in float64 on the activations' device, over as many batches as wanted."""

    def __init__(self):
        self._sums: dict[tuple[int, str], Tensor | float] = defaultdict(float)
        self._counts: dict[tuple[int, str], int] = defaultdict(int)

    def add(self, block: int, site: str, x: Tensor) -> None:
        """Take in all values of x, of any shape. Does not wait for the device."""
        self._sums[block, site] += torch.linalg.vector_norm(x.detach(), dtype=torch.float64).square()
        self._counts[block, site] += x.numel()

    def take(self) -> dict[tuple[int, str], float]:
        """M by (block, site) over everything added since the last call; starts anew."""
        found = {key: math.sqrt(float(self._sums[key]) / count) for key, count in sorted(self._counts.items())}
        self._sums.clear()
        self._counts.clear()
        return found


@contextmanager
def probes(model: nn.Module) -> Iterator[Magnitudes]:
    """Record the magnitudes at every site of `model` (a DiT, not compiled) while it runs inside the context.

    Hooks only read: the model's outputs are the same to the last bit, and nothing is left behind afterwards.
    """
    found = Magnitudes()
    hooks = [model.blocks[0].register_forward_pre_hook(_on_input(found, -1, "residual"))]
    for i, block in enumerate(model.blocks):
        hooks.append(block.register_forward_hook(_on_output(found, i, "residual")))
        hooks.append(block.modulation.register_forward_hook(_on_angles(found, i, block)))
        for name in ("attention", "mlp"):
            layer = getattr(block, name)
            hooks.append(layer.register_forward_pre_hook(_on_input(found, i, f"{name}_input")))
            hooks.append(layer.register_forward_hook(_on_output(found, i, f"{name}_output")))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _on_input(found: Magnitudes, block: int, site: str):
    return lambda module, inputs: found.add(block, site, inputs[0])


def _on_output(found: Magnitudes, block: int, site: str):
    return lambda module, inputs, output: found.add(block, site, output)


def _on_angles(found: Magnitudes, i: int, block: nn.Module):
    def hook(module: ZeroLinear, inputs: tuple, output: Tensor) -> None:
        for name, head in zip(block.head_names, output.split(module.sizes, dim=-1), strict=True):
            if name.endswith("_angle"):
                found.add(i, name, head)

    return hook


@torch.no_grad()
def weight_magnitudes(model: nn.Module) -> dict[tuple[int, str], float]:
    """Magnitude of each weight matrix by (block, path of its module in that part), and of all of a block's as `all`.

    It is the root mean square norm of the stored rows over the norm of a row that preserves magnitude (Lemma 3): 1 for
    forced rows, the growth since the start for normalised ones (C), and what plain ones multiply magnitude by (of a
    table of embeddings: the magnitude of its rows). So the letters share a scale.
    """
    found, squares, rows = {}, defaultdict(float), defaultdict(int)
    for path, module in model.named_modules():
        if isinstance(module, Rows):
            block, site = _locate(model, path)
            count, n = module.weight.shape
            plain_table = isinstance(module, Embedding) and module.weights == "plain"
            unit = n if module.weights == "normalized" or plain_table else 1
            square = float(module.weight.double().square().sum()) / unit
            found[block, site] = math.sqrt(square / count)
            squares[block] += square
            rows[block] += count
    found.update({(block, "all"): math.sqrt(squares[block] / rows[block]) for block in rows})
    return dict(sorted(found.items()))


@torch.no_grad()
def gains(model: nn.Module) -> dict[tuple[int, str], float]:
    """The learned gain of each head by (block, name of the head), signed; letters A and B have none."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, ZeroLinear) and module.gain is not None:
            block, _ = _locate(model, path)
            names = FINAL_HEADS[path] if path in FINAL_HEADS else model.blocks[block].head_names
            found.update({(block, name): gain for name, gain in zip(names, module.gain.tolist(), strict=True)})
    return found


def _locate(model: nn.Module, path: str) -> tuple[int, str]:
    """("blocks.3.mlp.up") -> (3, "mlp.up"); the final layer is the block after the last, all else is block -1."""
    part, _, rest = path.partition(".")
    if part == "blocks":
        index, _, rest = rest.partition(".")
        return int(index), rest
    return (len(model.blocks), rest) if part == "final" else (-1, path)


def correlated_latents(shape: tuple[int, ...], correlation: float, generator: torch.Generator) -> Tensor:
    """Normal values of magnitude 1 and the given `shape` (N, C, H, W), neighbours in a row or column correlated.

    Separable and autoregressive: the correlation of two pixels is `correlation` to the power of their distance in
    rows and columns together. Channels and images are independent.
    """
    distance = (torch.arange(shape[-1]).unsqueeze(0) - torch.arange(shape[-1]).unsqueeze(1)).abs().double()
    root = torch.linalg.cholesky(correlation**distance).float()
    return root @ torch.randn(shape, generator=generator) @ root.T
