"""What is compared: the ladder of configurations, the model sizes and the modulations, as tables of data.

What the paper calls Config A to Config E is one configuration each: Config A is the baseline DiT, and every later one
is the one before it with the named fields replaced (paper, section 4 and Table 1). A study may define configurations
and sizes of its own; its `Ladder` then holds them after the shipped ones (`definitions`).
Torch-free: Snakemake imports this module each time it parses the workflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from ..system.errors import UserError
from . import parts
from .names import complete


@dataclass(frozen=True)
class Config:
    """The features of one configuration of the ladder. Parts of a study may replace those named here (`parts`)."""

    attention: str  # dot_product | cosine (q and k normalized per head)
    weights: str  # plain | normalized (rows, in the forward pass) | forced (rows, after each step)
    sums: str  # plain | mp: residual and embedding sums (Lemma 4)
    activation: str  # silu | mp_silu (Lemma 5) | mp_leaky_relu (Lemma 6)
    embeddings: str  # plain | mp: positional and time sinusoids at unit magnitude
    pos_center: str  # none | feature | token: the mean that is taken out of the positional encoding
    gate_offset: float  # where gates start: 0 (a block is the identity, as in DiT) or 1
    norm: str  # layer (LayerNorm without affine parameters) | none
    block: str = "dit"  # attention, then an MLP, each modulated, gated and added to the residual stream


FIXED_CHOICES = {  # of fields that are not parts
    "weights": ("plain", "normalized", "forced"),
    "embeddings": ("plain", "mp"),
    "pos_center": ("none", "feature", "token"),
}


def choices(field: str) -> tuple[str, ...]:
    """What a field of Config other than `gate_offset` may be, parts of a study included."""
    return FIXED_CHOICES[field] if field in FIXED_CHOICES else parts.names(field)


class Rung(NamedTuple):
    """One configuration of the ladder, as the difference from the one that it extends."""

    extends: str | None
    changes: Mapping[str, Any]  # fields that it replaces
    adds: str  # what it adds, in words


_DIT = Config(
    attention="dot_product", weights="plain", sums="plain", activation="silu",
    embeddings="plain", pos_center="none", gate_offset=0.0, norm="layer",
)  # fmt: skip
_MP = {
    "weights": "normalized", "sums": "mp", "activation": "mp_silu",
    "embeddings": "mp", "pos_center": "token", "gate_offset": 1.0,
}  # fmt: skip

RUNGS: dict[str, Rung] = {
    "A": Rung(None, {}, "baseline DiT"),
    "B": Rung("A", {"attention": "cosine"}, "cosine attention"),
    "C": Rung("B", _MP, "magnitude-preserving layers"),
    "D": Rung("C", {"weights": "forced"}, "forced weight normalization"),
    "E": Rung("D", {"norm": "none"}, "no LayerNorm"),
    "E-leaky": Rung("E", {"activation": "mp_leaky_relu"}, "leaky ReLU in place of SiLU"),
}


@dataclass(frozen=True)
class Size:
    """Number of blocks, width of a token and number of attention heads."""

    depth: int
    width: int
    heads: int


SIZES = {
    "Nano": Size(depth=3, width=64, heads=4),
    "Slim": Size(depth=6, width=64, heads=4),
    "Micro": Size(depth=4, width=96, heads=4),
    "XS": Size(depth=6, width=256, heads=4),
    "S": Size(depth=12, width=384, heads=6),
    "B": Size(depth=12, width=768, heads=12),
    "L": Size(depth=24, width=1024, heads=16),
    "XL": Size(depth=28, width=1152, heads=16),
}
PATCHES = (1, 2, 4, 8)

# What a block does to the input of its branches, given the condition. The gate on their output is kept in each.
# These are the package's own; with those of a study they are `parts.names("modulation")`.
MODULATIONS = parts.SHIPPED["modulation"]


@dataclass(frozen=True)
class Ladder:
    """The configurations and the model sizes that a study may name, in their order."""

    rungs: Mapping[str, Rung]
    sizes: Mapping[str, Size]

    @cached_property
    def configs(self) -> dict[str, Config]:
        """The fields of each configuration."""
        return {name: self._resolved(name) for name in self.rungs}

    def _resolved(self, name: str) -> Config:
        rung = self.rungs[name]
        return _DIT if rung.extends is None else replace(self._resolved(rung.extends), **rung.changes)

    @cached_property
    def adds(self) -> dict[str, str]:
        """What each configuration adds to the one that it extends, in words."""
        return {name: rung.adds for name, rung in self.rungs.items()}

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The names of all models: each size with each patch."""
        return tuple(f"DiT-{size}/{patch}" for size in self.sizes for patch in PATCHES)

    @cached_property
    def model_names(self) -> str:
        """What a model's name may be, in words."""
        return (
            f"DiT-SIZE/PATCH with SIZE one of {', '.join(self.sizes)} and PATCH one of {', '.join(map(str, PATCHES))}"
        )

    def config(self, name: str) -> Config:
        """The fields of a configuration. Raises UserError for a name that is not on the ladder."""
        if name not in self.configs:
            raise UserError(f"unknown config {name!r}: must be one of {', '.join(self.configs)}")
        return self.configs[name]

    def parse_model(self, name: str) -> tuple[Size, int]:
        """Size and patch of a model named like `DiT-S/2`. Raises UserError for any other name."""
        if name not in self.models:
            raise UserError(f"unknown model {name!r}: must be {self.model_names}")
        size, patch = name.removeprefix("DiT-").split("/")
        return self.sizes[size], int(patch)


SHIPPED = Ladder(RUNGS, SIZES)
LADDER = SHIPPED.configs
ADDS = SHIPPED.adds
MODELS = SHIPPED.models


def parse_model(name: str) -> tuple[Size, int]:
    """Size and patch of a shipped model named like `DiT-S/2`. Raises UserError for a name that is not in the grid."""
    return SHIPPED.parse_model(name)


def resolve(config: str | Mapping[str, Any] | Config) -> Config:
    """The Config of a shipped configuration's name, or of a mapping of its fields. UserError names what is wrong."""
    if isinstance(config, str):
        return SHIPPED.config(config)
    config = config_of(config if isinstance(config, Mapping) else vars(config))
    for field in fields(Config):
        if field.name in parts.KINDS:
            parts.find(field.name, getattr(config, field.name))
    return config


def config_of(values: Mapping[str, Any]) -> Config:
    """The Config of a mapping of every field, those added later may be missing; its parts need not be registered.

    Raises UserError naming what is wrong.
    """
    names = [field.name for field in fields(Config)]
    completed = complete("fields", values)
    if sorted(completed) != sorted(names):
        raise UserError(f"config fields {sorted(values)}: must be exactly {', '.join(names)}")
    for field, allowed in FIXED_CHOICES.items():
        if completed[field] not in allowed:
            raise UserError(f"config field {field} is {completed[field]!r}: must be one of {', '.join(allowed)}")
    return Config(**completed)
