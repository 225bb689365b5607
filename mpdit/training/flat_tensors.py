"""Many small tensors that share one, so that a training step changes them all by one operation instead of hundreds."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

ALIGNMENT = 16  # float32 values: 64 bytes, as torch aligns the memory of a tensor


class FlatTensors:
    """Moves groups of named tensors into one flat tensor, `values` (P,), without gaps within a group.

    The tensors stay the objects that they are, with their shapes, as views of `values`.
    """

    def __init__(self, groups: Sequence[Mapping[str, Tensor]]):
        """`groups` hold tensors of one device and one dtype; no name occurs twice."""
        self._sizes = [sum(tensor.numel() for tensor in group.values()) for group in groups]
        self._starts = list(accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in self._sizes), initial=0))
        tensors = {name: tensor for group in groups for name, tensor in group.items()}
        self._places: dict[str, tuple[int, torch.Size]] = {}  # by name: the position of the first value, and the shape
        for start, group in zip(self._starts, groups, strict=False):
            for name, tensor in group.items():
                self._places[name] = start, tensor.shape
                start += tensor.numel()
        example = next(iter(tensors.values()))
        self.values = torch.zeros(self._starts[-1], dtype=example.dtype, device=example.device)
        with torch.no_grad():
            for name, view in self.views(self.values).items():
                view.copy_(tensors[name])
                tensors[name].data = view

    def views(self, values: Tensor) -> dict[str, Tensor]:
        """Views, by name, of a flat tensor (P,) with the layout of `values`."""
        return {
            name: values[start : start + shape.numel()].view(shape) for name, (start, shape) in self._places.items()
        }

    def groups(self) -> list[Tensor]:
        """The values of each group, flat, in the order of the groups."""
        return [self.values[start : start + size] for start, size in zip(self._starts, self._sizes, strict=False)]
