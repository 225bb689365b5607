"""Batches of whitened latents for training: gathered whole, on the device, with no Python code per item."""

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

RESIDENT_SHARE = 0.5  # share of the free memory that latents may occupy; larger ones stay on disk
PREFETCH = 4  # batches to read ahead from disk
COPY_BYTES = 2**26  # copied to the device at a time


class Batches:
    """Batch number `step` (from 1) of a training run: a pure function of the latents, the seed, and the step.

    The order is one permutation of all rows per epoch; a batch may span the end of one epoch and the start of the next.
    The global batch does not depend on the number of ranks that share it: rank r of `world` gets its slice.

    Rows (means, posterior deviations, and labels) are resident on `device`, in a single copy, if they take at most
    RESIDENT_SHARE of its free memory; otherwise a thread reads the next batches from the memory maps. Both give the
    same batches. `waited` is the time spent waiting for that thread, in seconds.
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
    ) -> None:
        self.seed, self.batch_size, self.count = seed, batch_size, latents.count
        self.device = torch.device(device)
        self.slice = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        self.waited = 0.0
        arrays = [latents.labels, latents.mean] + ([] if latents.std is None else [latents.std])
        if resident is None:
            resident = sum(array.nbytes for array in arrays) <= RESIDENT_SHARE * _free_memory(self.device)
        self.resident = resident
        # Whitening, (raw - offset) / scale, as one multiply-add: raw is a linear function of the stored values.
        offset, scale = latents.whitening(self.device)
        zero, one = to_raw(torch.from_numpy(np.array([0, 1], latents.mean.dtype))).tolist()
        self.multiplier, self.addend, self.deviation = (one - zero) / scale, (zero - offset) / scale, 1 / scale
        self._orders: dict[int, Tensor] = {}
        if resident:
            self._rows = [_to_device(array, self.device) for array in arrays]
        else:
            self._rows = [_as_tensor(array) for array in arrays]
            self._reader = ThreadPoolExecutor(1, "latents")
            self._ahead: deque[tuple[int, Future[list[Tensor]]]] = deque()

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return this rank's part of batch `step`: whitened latents (b, C, H, W) float32 and labels (b,) int64."""
        labels, mean, *std = self._gather(self.indices(step)[self.slice]) if self.resident else self._read_ahead(step)
        x = torch.addcmul(self.addend, mean.float(), self.multiplier)
        if std:  # noise is drawn for the global batch: the numbers do not depend on the number of ranks
            random = generator(self.seed, "posterior", step, device=self.device)
            noise = torch.randn(self.batch_size, *x.shape[1:], generator=random, device=self.device)[self.slice]
            x.addcmul_(std[0].float() * self.deviation, noise)
        return x, labels

    def indices(self, step: int) -> Tensor:
        """Return the rows of the global batch `step`: (batch_size,) int64, on the device if latents are resident."""
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
            self._ahead.clear()  # the first batch, or not the one after the last
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
    """Return the free memory of a device in bytes."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def _as_tensor(array: np.memmap) -> Tensor:
    """Return a tensor over the file itself; copy-on-write, as torch has no read-only tensors."""
    return torch.from_numpy(np.memmap(str(array.filename), array.dtype, "c", array.offset, array.shape))


def _to_device(array: np.memmap, device: torch.device) -> Tensor:
    """Return a copy on the device. Reads the file in pieces, as pages read through the memory map count as memory."""
    rows = torch.empty(array.shape, dtype=_as_tensor(array).dtype, device=device)
    items = math.prod(array.shape[1:])
    rows_at_a_time = max(1, COPY_BYTES // (items * array.itemsize))
    with open(str(array.filename), "rb") as file:
        file.seek(array.offset)
        for part in rows.split(rows_at_a_time):
            values = np.fromfile(file, array.dtype, count=len(part) * items)
            part.copy_(torch.from_numpy(values).view(part.shape))
    return rows
