"""What factories of parts receive, for tests that make one part alone."""

from dataclasses import replace
from typing import Any

from mpdit.experiment.ladder import LADDER
from mpdit.model.building import PartContext, build
from mpdit.model.layers import Activation


def context(config: str = "E", *, width: int = 16, heads: int = 2, side: int = 2, **fields: Any) -> PartContext:
    """The first of two blocks of a model in a configuration with some of its fields replaced."""
    return PartContext(width, heads, side, 2, 0, replace(LADDER[config], **fields), "scale_shift")


def activation(name: str) -> Activation:
    """A registered activation."""
    return build("activation", context(activation=name))
