"""What is compared: the ladder of configurations, the model sizes and the modulations, as tables of data.

Every letter is the one before it with the named fields replaced (paper, section 4 and Table 1).
Torch-free: Snakemake imports this module each time it parses the workflow.
"""

from dataclasses import dataclass, fields, replace

from ..system.errors import UserError


@dataclass(frozen=True)
class Config:
    """The declared features of one letter of the ladder."""

    attention: str  # dot_product | cosine (q and k normalised per head)
    weights: (
        str  # plain | normalized (rows, in the forward pass) | forced (rows put back on the sphere after each step)
    )
    sums: str  # plain | mp: residual and embedding sums (Lemma 4)
    activation: str  # silu | mp_silu (Lemma 5) | mp_leaky_relu (Lemma 6)
    embeddings: str  # plain | mp: positional and time sinusoids at unit magnitude
    pos_center: str  # none | feature | token: the mean taken out of the positional encoding
    gate_offset: float  # where gates start: 0 (a block is the identity, as in DiT) or 1
    norm: str  # layer (LayerNorm without affine parameters) | none


CHOICES = {
    "attention": ("dot_product", "cosine"),
    "weights": ("plain", "normalized", "forced"),
    "sums": ("plain", "mp"),
    "activation": ("silu", "mp_silu", "mp_leaky_relu"),
    "embeddings": ("plain", "mp"),
    "pos_center": ("none", "feature", "token"),
    "norm": ("layer", "none"),
}

_DIT = Config(
    attention="dot_product", weights="plain", sums="plain", activation="silu",
    embeddings="plain", pos_center="none", gate_offset=0.0, norm="layer",
)  # fmt: skip
_MP = {
    "weights": "normalized", "sums": "mp", "activation": "mp_silu",
    "embeddings": "mp", "pos_center": "token", "gate_offset": 1.0,
}  # fmt: skip

# letter: (the letter it extends, the fields it replaces, what it adds in words)
_LADDER = {
    "A": (None, {}, "baseline DiT"),
    "B": ("A", {"attention": "cosine"}, "cosine attention"),
    "C": ("B", _MP, "magnitude-preserving layers"),
    "D": ("C", {"weights": "forced"}, "forced weight normalization"),
    "E": ("D", {"norm": "none"}, "no LayerNorm"),
    "E-leaky": ("E", {"activation": "mp_leaky_relu"}, "leaky ReLU in SiLU's place"),
}


def _climb(letter: str) -> Config:
    parent, changes, _ = _LADDER[letter]
    return _DIT if parent is None else replace(_climb(parent), **changes)


LADDER: dict[str, Config] = {letter: _climb(letter) for letter in _LADDER}
ADDS: dict[str, str] = {letter: adds for letter, (_, _, adds) in _LADDER.items()}
DECLARED: dict[str, tuple[str | None, dict]] = {letter: entry[:2] for letter, entry in _LADDER.items()}


@dataclass(frozen=True)
class Size:
    depth: int
    width: int
    heads: int


SIZES = {
    "Nano": Size(depth=3, width=64, heads=4),
    "Micro": Size(depth=4, width=96, heads=4),
    "XS": Size(depth=6, width=256, heads=4),
    "S": Size(depth=12, width=384, heads=6),
    "B": Size(depth=12, width=768, heads=12),
    "L": Size(depth=24, width=1024, heads=16),
    "XL": Size(depth=28, width=1152, heads=16),
}
PATCHES = (1, 2, 4, 8)
MODELS = tuple(f"DiT-{size}/{patch}" for size in SIZES for patch in PATCHES)

# What a block does to its branch's input, given the condition. The gate on its output is kept in each.
MODULATIONS = ("scale", "shift", "scale_shift", "rotate", "scale_rotate", "rotate_full")


def parse_model(name: str) -> tuple[Size, int]:
    """Size and patch of a model named like `DiT-S/2`. Raises UserError for a name that is not in the grid."""
    if name not in MODELS:
        sizes, patches = ", ".join(SIZES), ", ".join(map(str, PATCHES))
        raise UserError(
            f"unknown model {name!r}: must be DiT-SIZE/PATCH with SIZE one of {sizes} and PATCH one of {patches}"
        )
    size, patch = name.removeprefix("DiT-").split("/")
    return SIZES[size], int(patch)


def resolve(config: str | dict | Config) -> Config:
    """The Config of a letter, or of a mapping that holds every field. Raises UserError naming what is wrong."""
    if isinstance(config, str):
        if config not in LADDER:
            raise UserError(f"unknown config {config!r}: must be one of {', '.join(LADDER)}")
        return LADDER[config]
    if isinstance(config, dict):
        names = [field.name for field in fields(Config)]
        if sorted(config) != sorted(names):
            raise UserError(f"config fields {sorted(config)}: must be exactly {', '.join(names)}")
        config = Config(**config)
    for name, allowed in CHOICES.items():
        if getattr(config, name) not in allowed:
            raise UserError(f"config field {name} is {getattr(config, name)!r}: must be one of {', '.join(allowed)}")
    return config
