"""The processes that train one run together, one per device, as torchrun starts them; a lone process is rank 0 of 1."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ..system.device import choose_device
from ..system.errors import UserError

AGREE_EVERY = 4  # steps between two all-reduces that ask whether any rank has to stop
TORCHRUN = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}  # the variables that torchrun sets; their values without it

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train a run: its `rank` of `world` processes, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only one that reports and writes files."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in place."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def any(self, value: bool, step: int) -> bool:
        """Whether `value` holds on any rank. Asked only every few steps, and through the host's memory."""
        if self.world == 1:
            return value
        if step % AGREE_EVERY:
            return False
        flag = torch.tensor([int(value)])
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)

    def from_first(self, value: T) -> T:
        """Return the first rank's `value` on every rank."""
        if self.world == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def leave(self) -> None:
        """Wait for all ranks, then leave: torchrun kills the others as soon as one exits with an error status."""
        if self.world > 1:
            distributed.all_reduce(torch.zeros(1))
            distributed.destroy_process_group()


def join(device: str) -> Ranks:
    """Join the other ranks on `device` (auto, cpu or cuda). UserError if there is no such device."""
    kind = choose_device(device).type
    rank, world, local = (int(os.environ.get(name, default)) for name, default in TORCHRUN.items())
    if kind == "cuda" and local >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(f"--devices: {world}: must be at most {count}, the number of CUDA devices on this machine")
    if kind == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    if world > 1 and not distributed.is_initialized():
        if kind == "cuda":
            torch.cuda.set_device(local)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    return Ranks(rank, world, torch.device(kind, local) if kind == "cuda" else torch.device("cpu"))
