"""Names that a study's ladder must have, as annotations for pydantic.

The ladder is the context of the validation (`parse.parse_configuration`); without one it is the shipped ladder.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .fields import OWN_WORDS, UNKNOWN_NAME
from .ladder import PATCHES, SHIPPED, Ladder
from .parts import modulations

LABEL = r"\w[\w.-]*"
LONGEST_LABEL = 40  # characters; it is a part of names of files


@dataclass(frozen=True, eq=False)  # hashed by identity, as annotations must be
class Known:
    """A name that is known to the ladder."""

    is_known: Callable[[Ladder, str], bool]
    listed: Callable[[Ladder], Collection[str]]  # the names, where a message can list them
    words: Callable[[Ladder], str]  # what a name may be
    schema: dict[str, Any]  # what editors know about it

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.schema}

    def _check(self, value: str, info: core_schema.ValidationInfo) -> str:
        ladder = SHIPPED if info.context is None else info.context
        if not self.is_known(ladder, value):
            context = {"expected": self.words(ladder), "listed": list(self.listed(ladder))}
            raise PydanticCustomError(UNKNOWN_NAME, "{expected}", context)
        return value


CONFIG = Known(
    lambda ladder, name: name in ladder.rungs,
    lambda ladder: ladder.rungs,
    lambda ladder: f"one of {', '.join(ladder.rungs)}",
    {
        "enum": list(SHIPPED.rungs),
        "x-open": f"^{LABEL}$",
        "x-words": f"one of {', '.join(SHIPPED.rungs)}, or a name under `configs`",
    },
)
MODEL = Known(
    lambda ladder, name: name in ladder.models,
    lambda ladder: (),
    lambda ladder: ladder.model_names,
    {
        "enum": list(SHIPPED.models),
        "x-open": rf"^DiT-\w+/({'|'.join(map(str, PATCHES))})$",
        "x-words": SHIPPED.model_names,
    },
)


def _is_rate_key(ladder: Ladder, name: str) -> bool:
    model, _, rest = name.partition(" ")
    config, _, modulation = rest.partition(" ")
    return name in ladder.rungs or (model in ladder.models and config in ladder.rungs and modulation in modulations())


_RATE_KEY = "a configuration (E), or model, configuration and modulation (DiT-S/2 E scale)"
RATE_KEY = Known(
    _is_rate_key,
    lambda ladder: (),
    lambda ladder: _RATE_KEY,
    {"pattern": rf"^(DiT-\w+/\d )?{LABEL}( \w+)?$", "x-words": _RATE_KEY},
)


def label(hyphens: bool = True) -> AfterValidator:
    """A name of the study's own, which enters names of files."""
    pattern = LABEL if hyphens else r"\w+"
    kinds = "letters, digits, underscores, dots and hyphens" if hyphens else "letters, digits and underscores"

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value) or len(value) > LONGEST_LABEL:
            raise PydanticCustomError(OWN_WORDS, f"a name of at most {LONGEST_LABEL} {kinds}")
        return value

    return AfterValidator(check)
