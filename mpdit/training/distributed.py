"""The processes that train one run together, one a device, as torchrun starts them; a lone process is rank 0 of 1."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from ..system.device import choose_device
from ..system.errors import UserError

AGREE_EVERY = 4  # steps between two questions to all ranks
TORCHRUN = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}  # its variables, and what they are for a lone process


@dataclass(frozen=True)
class Ranks:
    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over all ranks, in place."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def any(self, value: bool, step: int) -> bool:
        """Whether `value` holds on any rank; asked every few steps only, by way of the host."""
        if self.world == 1:
            return value
        if step % AGREE_EVERY:
            return False
        flag = torch.tensor([int(value)])
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)

    def from_first(self, value):
        """What the first rank holds."""
        if self.world == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def leave(self) -> None:
        """Wait for all: torchrun ends the others as soon as one of them ends with an error status."""
        if self.world > 1:
            distributed.all_reduce(torch.zeros(1))
            distributed.destroy_process_group()


def join(device: str) -> Ranks:
    """Meet the other ranks on `device` (auto, cpu or cuda). UserError where there is no such device."""
    kind = choose_device(device).type
    rank, world, local = (int(os.environ.get(name, default)) for name, default in TORCHRUN.items())
    if kind == "cuda" and local >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(f"--devices: {world}: must be at most {found}, the CUDA devices that torch finds here")
    if kind == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    if world > 1 and not distributed.is_initialized():
        if kind == "cuda":
            torch.cuda.set_device(local)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    return Ranks(rank, world, torch.device(kind, local) if kind == "cuda" else torch.device("cpu"))
