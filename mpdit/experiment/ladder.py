"""What is compared: the ladder of configurations, the model sizes and the modulations, as tables of data.

What the paper calls Config A to Config E is one configuration each: Config A is the baseline DiT, and every later one
is the one before it with the named fields replaced (paper, section 4 and Table 1).
Torch-free: Snakemake imports this module each time it parses the workflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
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
    changes: dict[str, Any]  # fields that it replaces
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


def _resolve_rung(name: str) -> Config:
    rung = RUNGS[name]
    return _DIT if rung.extends is None else replace(_resolve_rung(rung.extends), **rung.changes)


LADDER: dict[str, Config] = {name: _resolve_rung(name) for name in RUNGS}
ADDS: dict[str, str] = {name: rung.adds for name, rung in RUNGS.items()}


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
MODELS = tuple(f"DiT-{size}/{patch}" for size in SIZES for patch in PATCHES)
MODEL_NAMES = (  # what a model's name may be, in words
    f"DiT-SIZE/PATCH with SIZE one of {', '.join(SIZES)} and PATCH one of {', '.join(map(str, PATCHES))}"
)

# What a block does to the input of its branches, given the condition. The gate on their output is kept in each.
# These are the package's own; with those of a study they are `parts.names("modulation")`.
MODULATIONS = parts.SHIPPED["modulation"]


def parse_model(name: str) -> tuple[Size, int]:
    """Size and patch of a model named like `DiT-S/2`. Raises UserError for a name that is not in the grid."""
    if name not in MODELS:
        raise UserError(f"unknown model {name!r}: must be {MODEL_NAMES}")
    size, patch = name.removeprefix("DiT-").split("/")
    return SIZES[size], int(patch)


def resolve(config: str | Mapping[str, Any] | Config) -> Config:
    """The Config of a configuration's name, or of a mapping of its fields. Raises UserError naming what is wrong."""
    if isinstance(config, str):
        if config not in LADDER:
            raise UserError(f"unknown config {config!r}: must be one of {', '.join(LADDER)}")
        return LADDER[config]
    if isinstance(config, Mapping):
        config = config_of(config)
    for field in fields(Config):
        value = getattr(config, field.name)
        if field.name in parts.KINDS:
            parts.find(field.name, value)
        elif field.name in FIXED_CHOICES and value not in FIXED_CHOICES[field.name]:
            allowed = ", ".join(FIXED_CHOICES[field.name])
            raise UserError(f"config field {field.name} is {value!r}: must be one of {allowed}")
    return config


def config_of(values: Mapping[str, Any]) -> Config:
    """The Config of a mapping of every field, those added later may be missing. UserError for keys that are wrong."""
    names = [field.name for field in fields(Config)]
    completed = complete("fields", values)
    if sorted(completed) != sorted(names):
        raise UserError(f"config fields {sorted(values)}: must be exactly {', '.join(names)}")
    return Config(**completed)
