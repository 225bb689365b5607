"""Batches of whitened latents as training eats them: gathered whole, on the device, no Python for a single item."""

import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import psutil
import torch
from torch import Tensor

from ..data.latents import Latents, to_raw
from ..system.seeds import generator

RESIDENT_SHARE = 0.5  # of the free memory that latents may take; larger ones stay on disk
PREFETCH = 4  # batches read ahead from disk
PIECE = 2**26  # bytes copied to the device at a time


class Batches:
    """Batch number `step` (from 1) of a training run: a pure function of the latents, the seed and the step.

    The order is one permutation of all rows per epoch; a batch may take the end of one and the start of the next. The
    global batch does not depend on how many ranks share it: rank r of `world` gets its slice.

    Rows (with their posterior's deviations and their labels) are resident on `device`, once, where they take at most
    RESIDENT_SHARE of its free memory; else a thread reads the batches to come from the memory maps. Both give the
    same batches. `waited` counts the seconds spent waiting for that thread.
    """

    def __init__(
        self,
        latents: Latents,
        seed: int,
        batch_size: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        resident: bool | None = None,
    ):
        self.seed, self.batch_size, self.count = seed, batch_size, latents.count
        self.device = torch.device(device)
        self.slice = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        self.waited = 0.0
        arrays = [latents.labels, latents.mean] + ([] if latents.std is None else [latents.std])
        if resident is None:
            resident = sum(array.nbytes for array in arrays) <= RESIDENT_SHARE * _free_memory(self.device)
        self.resident = resident
        # Whitening folded into one multiply-add: (raw - offset) / scale, where raw is linear in what is stored.
        offset, scale = latents.whitening(self.device)
        zero, one = to_raw(torch.from_numpy(np.array([0, 1], latents.mean.dtype))).tolist()
        self.multiplier, self.addend, self.deviation = (one - zero) / scale, (zero - offset) / scale, 1 / scale
        self._orders: dict[int, Tensor] = {}
        if resident:
            self._rows = [_to_device(array, self.device) for array in arrays]
        else:
            self._rows = [_as_tensor(array) for array in arrays]
            self._reader = ThreadPoolExecutor(1, "latents")
            self._ahead: deque[tuple[int, Future]] = deque()

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """This rank's part of batch `step`: whitened latents (b, C, H, W) float32 and labels (b,) int64."""
        labels, mean, *std = self._gather(self.indices(step)[self.slice]) if self.resident else self._read_ahead(step)
        x = torch.addcmul(self.addend, mean.float(), self.multiplier)
        if std:  # drawn for the whole batch: the same numbers however many ranks there are
            draws = generator(self.seed, "posterior", step, device=self.device)
            noise = torch.randn(self.batch_size, *x.shape[1:], generator=draws, device=self.device)[self.slice]
            x.addcmul_(std[0].float() * self.deviation, noise)
        return x, labels

    def indices(self, step: int) -> Tensor:
        """The rows of the global batch `step`: (batch_size,) int64, on the device where the latents are resident."""
        start, stop = (step - 1) * self.batch_size, step * self.batch_size
        parts = []
        while start < stop:
            epoch, position = divmod(start, self.count)
            parts.append(self._order(epoch)[position : position + stop - start])
            start += len(parts[-1])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            order = torch.randperm(self.count, generator=generator(self.seed, "order", epoch))
            self._orders = {kept: self._orders[kept] for kept in self._orders if kept == epoch - 1}
            self._orders[epoch] = order.to(self.device) if self.resident else order
        return self._orders[epoch]

    def _gather(self, indices: Tensor) -> list[Tensor]:
        return [rows.index_select(0, indices) for rows in self._rows]

    def _read_ahead(self, step: int) -> list[Tensor]:
        if not self._ahead or self._ahead[0][0] != step:
            self._ahead.clear()  # the first batch, or a jump
            self._submit(step)
        for ahead in range(self._ahead[-1][0] + 1, step + PREFETCH + 1):
            self._submit(ahead)
        start = time.perf_counter()
        rows = self._ahead.popleft()[1].result()
        self.waited += time.perf_counter() - start
        return [part.to(self.device, non_blocking=True) for part in rows]

    def _submit(self, step: int) -> None:
        self._ahead.append((step, self._reader.submit(self._read, step)))

    def _read(self, step: int) -> list[Tensor]:
        rows = self._gather(self.indices(step)[self.slice])
        return [part.pin_memory() for part in rows] if self.device.type == "cuda" else rows


def _free_memory(device: torch.device) -> int:
    """Bytes."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def _as_tensor(array: np.memmap) -> Tensor:
    """A tensor over the file itself; copy-on-write, as torch has no read-only tensors."""
    return torch.from_numpy(np.memmap(array.filename, array.dtype, "c", array.offset, array.shape))


def _to_device(array: np.memmap, device: torch.device) -> Tensor:
    """A copy on the device, read from the file in pieces: what a memory map has read would count as memory, too."""
    rows = torch.empty(array.shape, dtype=_as_tensor(array).dtype, device=device)
    items = math.prod(array.shape[1:])
    piece = max(1, PIECE // (items * array.itemsize))  # rows
    with open(array.filename, "rb") as file:
        file.seek(array.offset)
        for part in rows.split(piece):
            read = np.fromfile(file, array.dtype, count=len(part) * items)
            part.copy_(torch.from_numpy(read).view(part.shape))
    return rows
