"""Loads what is registered beside the general parts: the published study in `mpdit.paper`, where it is there."""

from importlib import import_module

PAPER = "mpdit.paper"


def load() -> None:
    """Import `mpdit.paper`, which registers its tables, figures, claims and setting. Without it, do nothing."""
    try:
        import_module(PAPER)
    except ModuleNotFoundError as error:
        if error.name != PAPER:  # the package is there, but something that it imports is not
            raise
