"""Writing tensors to a safetensors file with a seal (see `system.safetensors_seal`)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..system import safetensors_seal


def save_sealed(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a sealed safetensors file, not atomically. Raises OSError if it cannot be written."""
    try:
        save_file(dict(tensors), path, metadata={**metadata, **safetensors_seal.UNSEALED})
    except SafetensorError as error:  # wraps the operating system's error
        raise system_error(error) from None
    safetensors_seal.fill_in(path)


def system_error(error: Exception) -> Exception:
    """Return the OSError that a SafetensorError wraps, such as "File too large (os error 27)"; other errors as is."""
    match = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, SafetensorError) else None
    return OSError(int(match[1]), os.strerror(int(match[1]))) if match else error
