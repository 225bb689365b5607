"""The configurations and model sizes that a study defines in its own file: `configs:` and `sizes:` -> its `Ladder`.

They stand beside the shipped ones, which no file can redefine: Config E is the paper's in every study.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Annotated, Any

from pydantic import Field, create_model

from ..system.errors import UserError
from .fields import NUMBER, SECTION, Count, OneOf, Text
from .ladder import RUNGS, SHIPPED, SIZES, Config, Ladder, Rung, Size, choices
from .ladder_fields import label
from .section import Section, key

WIDTH_UNIT = 4  # the position encoding has sines and cosines of two coordinates
# What each field of a configuration may be
FIELD_KINDS: dict[str, Any] = {
    field.name: Annotated[float, Field(allow_inf_nan=False), NUMBER]
    if field.type is float
    else Annotated[str, OneOf(partial(choices, field.name))]
    for field in fields(Config)
}


MEANINGS = {  # of the fields, in words
    "attention": "logits of attention",
    "weights": "normalized: rows in the forward pass; forced: rows after each step",
    "sums": "mp: residual and embedding sums preserve magnitude",
    "activation": "of the MLP and the condition",
    "embeddings": "mp: positions and time at unit magnitude",
    "pos_center": "mean that is taken out of the positional encoding",
    "gate_offset": "where gates start: 0 (a block is the identity) or 1",
    "norm": "at the input of every branch",
    "block": "how attention and MLP make a block",
}


class _Rung(Section):
    extends: Text = key(..., "the configuration that it extends, shipped or of this file")
    adds: Text = key(..., "what it adds, in words, for tables and figures")


OwnConfig: Any = create_model(
    "OwnConfig",
    __base__=_Rung,
    __doc__="A configuration, as the difference from the one that it extends: the fields that it replaces.",
    **{name: (kind, key(None, MEANINGS.get(name, name))) for name, kind in FIELD_KINDS.items()},
)  # type: ignore[call-overload]  # of fields that are known at run time only


class OwnSize(Section):
    """A model size. A model of it is called DiT-NAME/PATCH."""

    depth: Count = key(..., "number of blocks")
    width: Count = key(..., "width of a token: a multiple of 4 and of the number of heads")
    heads: Count = key(..., "number of attention heads")


OwnConfigs = Annotated[dict[Annotated[str, label()], OwnConfig], SECTION]
OwnSizes = Annotated[dict[Annotated[str, label(hyphens=False)], OwnSize], SECTION]
CONFIGS_MEANING = (
    "configurations of the study's own, by name: each extends a shipped one (Config A to E, E-leaky) or another of "
    "these, and replaces the named fields"
)
SIZES_MEANING = "model sizes of the study's own, by name: models are called DiT-NAME/PATCH"


class Definitions(Section):
    """The part of a configuration file that defines names."""

    configs: OwnConfigs = key({}, CONFIGS_MEANING)
    sizes: OwnSizes = key({}, SIZES_MEANING)


def study_ladder(configs: Mapping[str, Any], sizes: Mapping[str, OwnSize]) -> Ladder:
    """The shipped ladder, then the configurations and sizes of a study, in the order of its file.

    Raises UserError with one line per mistake, each naming the field.
    """
    if not configs and not sizes:
        return SHIPPED
    changes = {
        name: {field: getattr(own, field) for field in FIELD_KINDS if field in own.model_fields_set}
        for name, own in configs.items()
    }
    rungs = RUNGS | {name: Rung(own.extends, changes[name], own.adds) for name, own in configs.items()}
    problems = [*_config_problems(configs, rungs), *_size_problems(sizes)]
    if problems:
        raise UserError("\n".join(problems))
    ladder = Ladder(rungs, SIZES | {name: Size(**own.to_json()) for name, own in sizes.items()})
    for name, rung in rungs.items():
        if name not in RUNGS and ladder.configs[name] == ladder.configs[str(rung.extends)]:
            raise UserError(
                f"configs.{name}: expected a field that differs from Config {rung.extends}, one of "
                f"{', '.join(FIELD_KINDS)}; found none"
            )
    return ladder


def _config_problems(own: Mapping[str, Any], rungs: Mapping[str, Rung]) -> Iterator[str]:
    for name in own:
        if name in RUNGS:
            yield f"configs.{name}: Config {name} is shipped and keeps its meaning; expected another name"
        elif rungs[name].extends not in rungs:
            yield f"configs.{name}.extends: expected one of {', '.join(rungs)}, got {rungs[name].extends!r}"
        elif _extends_itself(name, rungs):
            yield (
                f"configs.{name}.extends: expected a configuration that does not extend {name} in turn, "
                f"got {rungs[name].extends!r}"
            )


def _extends_itself(name: str, rungs: Mapping[str, Rung]) -> bool:
    passed: set[str] = set()
    at = rungs[name].extends
    while at is not None and at in rungs and at not in passed:
        passed.add(at)
        at = rungs[at].extends
    return name in passed


def _size_problems(own: Mapping[str, OwnSize]) -> Iterator[str]:
    for name, size in own.items():
        if name in SIZES:
            yield f"sizes.{name}: size {name} is shipped and keeps its meaning; expected another name"
        elif size.width % size.heads or size.width % WIDTH_UNIT:
            yield (
                f"sizes.{name}.width: expected a multiple of {WIDTH_UNIT} and of the {size.heads} heads, "
                f"got {size.width}"
            )
