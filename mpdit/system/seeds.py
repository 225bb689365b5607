"""Random numbers as pure functions of a key: (seed, purpose, step or index, ...).

No generator's state has to be saved and restored: a resumed run uses the same keys again.
"""

import hashlib
from operator import index

import torch


def seed_of(*key: int | str) -> int:
    """A 64-bit seed from the SHA-256 of `key`. Integers and strings are distinct: 1 and "1" are different keys."""
    parts = [part if isinstance(part, str) else index(part) for part in key]
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def generator(*key: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator on `device` seeded by `key`, such as `generator(seed, "noise", step)`.

    The same key gives the same numbers in every process and on every machine, but CPU and CUDA generators differ.
    (On the CPU torch uses 32 bits of the seed, on CUDA all 64.)
    """
    return torch.Generator(device).manual_seed(seed_of(*key))
