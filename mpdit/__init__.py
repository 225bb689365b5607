"""mpdit: magnitude preservation and rotation modulation in Diffusion Transformers (arXiv 2505.19122).

`import mpdit` is light: torch is loaded when a model is first asked for.
"""

import importlib

__version__ = "0.1.0"

_LAZY = {"create_model": "model.dit", "DiT": "model.dit", "Latents": "data.latents"}
__all__ = [*_LAZY, "__version__"]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
