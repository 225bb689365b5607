"""The device that a command computes on: the `--device` option, its interpretation, its name and peak memory.

Torch is imported inside the functions, so that commands can declare the option before they load it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from .errors import UserError
from .memory import keep_freed_memory

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def add_device_argument(parser: argparse.ArgumentParser, what: str = "the model") -> None:
    """Add the option `--device`, whose value `choose_device` interprets; `what` is what runs there, for the help."""
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help=f"where {what} runs; auto is CUDA if available (%(default)s)"
    )


def choose_device(name: str) -> "torch.device":
    """The device that `name` stands for: `cpu`, `cuda`, or `auto`, which is CUDA where torch finds any, else the CPU.

    If that is the CPU, the process keeps the memory that it frees from now on (`memory.keep_freed_memory`). Raises
    UserError for another name, and for `cuda` where torch finds no CUDA device.
    """
    import torch

    if name not in DEVICES:
        raise UserError(f"--device: {name!r}: must be one of {', '.join(DEVICES)}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device: cuda: torch finds no CUDA device on this machine; use cpu or auto")
    if name == "cpu" or not available:
        keep_freed_memory()
        return torch.device("cpu")
    return torch.device("cuda")


def device_name(device: "torch.device") -> str:
    """The name of the GPU, as CUDA reports it, or "cpu"."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_memory(device: "torch.device") -> int:
    """The most bytes that this process has held: allocated by torch on a CUDA device, or resident on the CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")  # getrusage would add what ran before exec
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return int(psutil.Process().memory_info().rss)
