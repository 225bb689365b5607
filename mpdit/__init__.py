"""Magnitude preservation and rotation modulation in Diffusion Transformers (arXiv 2505.19122).

`import mpdit` is fast: torch is imported when one of the names below is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.latents import Latents
    from .model.dit import DiT, create_model

__version__ = "0.1.0"
__all__ = ["DiT", "Latents", "__version__", "create_model"]

_MODULES = {"create_model": ".model.dit", "DiT": ".model.dit", "Latents": ".data.latents"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
