"""The kinds of values that a configuration's fields hold, as annotated types for pydantic.

Numbers are forgiving where YAML is not: PyYAML reads `1e-4` as text, and `--config` passes every nested value as text.
Everything else is strict: `true` is no number. A constraint (`Field(ge=1)`) stands before the conversion in each
`Annotated`, so that it applies to the converted value and appears in the JSON Schema.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

NULLS = ("null", "none", "None")  # text that stands for null, as `--config` passes it
SLUG = r"^[\w.]+$"  # names that enter file names: letters, digits, underscores and dots
LONGEST_NAME = 180  # bytes of such a name: files named after it have up to 70 more, of the 255 that there may be
LARGEST = 2**53  # of whole numbers: larger ones are not exact in CSVs and JavaScript
LONGEST_VALUE = 60  # characters of a wrong value that a message repeats
OWN_WORDS = "own_words"  # type of the errors whose message is what was expected
UNKNOWN_NAME = "unknown_name"  # likewise, of a name that is not among those that there are


def _number(value: object) -> object:
    """The number that a text spells, or the value itself."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _whole(value: object) -> object:
    """The integer that a text or an integral float stands for, or the value itself."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _null(value: object) -> object:
    return None if isinstance(value, str) and value in NULLS else value


def _boolean(value: object) -> object:
    return (
        {"true": True, "True": True, "false": False, "False": False}.get(value, value)
        if isinstance(value, str)
        else value
    )


def _sequence(value: object) -> object:
    """A tuple of a list's items; a single value stands for a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values themselves, if none of them repeats."""
    if len(set(values)) != len(values):
        raise PydanticCustomError(OWN_WORDS, "a list without repeats")
    return values


def bounded(value: int) -> int:
    """The number itself, if it is no larger than any that a study could mean."""
    if value > LARGEST:
        raise PydanticCustomError(OWN_WORDS, "a whole number of at most 2^53")
    return value


def _one_line(value: str) -> str:
    """The text itself, if it can be part of a command, a path and a message."""
    if any(character < " " or character == "\x7f" for character in value):
        raise PydanticCustomError(OWN_WORDS, "a text without control characters")
    return value


def _file_name(value: str) -> str:
    """The name itself, if a file can be named after it."""
    if len(value.encode()) > LONGEST_NAME:
        raise PydanticCustomError(OWN_WORDS, "a name of at most {longest} bytes", {"longest": LONGEST_NAME})
    if value == "..":
        raise PydanticCustomError(OWN_WORDS, "a name that is not the folder above")
    return value


def _section(value: object) -> object:
    """An absent section (`tracing:` with nothing behind it) has every default."""
    return {} if value is None else value


@dataclass(frozen=True)
class OneOf:
    """One of a set of names that is data elsewhere, such as the configurations of the ladder.

    A function gives the names of a registry that a study may add to.
    """

    allowed: tuple[str, ...] | Callable[[], tuple[str, ...]]
    words: str = ""  # what to say in place of a long list
    pattern: str = ""  # what a JSON Schema has in place of a very long list

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        values: dict[str, Any] = {"pattern": self.pattern} if self.pattern else {"enum": list(self._names())}
        words = {"x-words": self.words} if self.words else {}
        return {**handler(schema), **values, **words, **({"x-open": r"^\w+$"} if callable(self.allowed) else {})}

    def _names(self) -> tuple[str, ...]:
        return self.allowed() if callable(self.allowed) else self.allowed

    def _check(self, value: str) -> str:
        names = self._names()
        if value not in names:
            raise PydanticCustomError("one_of", "one of {allowed}", {"allowed": ", ".join(names)})
        return value


WHOLE, NUMBER, NULL, LISTED = (BeforeValidator(convert) for convert in (_whole, _number, _null, _sequence))
SECTION = BeforeValidator(_section)


def _count_or_path(value: object) -> object:
    """A count where a text spells one, as `--config` passes it; else a path."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


COUNT_OR_PATH = BeforeValidator(_count_or_path)


def one_of_kinds(**kinds: type | tuple[type, ...]) -> Discriminator:
    """Choose the member of a union by the type of the value; each member is tagged `<name>`, the last is the default.

    Messages then speak of that member alone, and leave the tag out of the field's name.
    """
    *tested, default = kinds

    def tag(value: object) -> str:
        return f"<{next((name for name in tested if isinstance(value, kinds[name])), default)}>"

    return Discriminator(tag)


Item = TypeVar("Item")
Text = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Slug = Annotated[str, Field(pattern=SLUG), AfterValidator(_file_name)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Count = Annotated[int, Field(ge=1), AfterValidator(bounded), WHOLE]
Index = Annotated[int, Field(ge=0), AfterValidator(bounded), WHOLE]
Seed = Annotated[int, Field(ge=0, le=LARGEST), WHOLE]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), NUMBER]
EmaWidth = Annotated[float, Field(ge=0.01, le=0.28, allow_inf_nan=False), NUMBER]
Several = Annotated[
    tuple[Item, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(distinct), LISTED
]


# ---------------------------------------------------------------------------------------------------------------------
# What a field may be, in words, from its JSON Schema


def describe(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    """What a value must be to satisfy a JSON Schema of this module's kinds: `a whole number of at least 1, or null`."""
    if "$ref" in schema:
        schema = (definitions or {}).get(schema["$ref"].rpartition("/")[2], {})
    if "x-words" in schema:
        return str(schema["x-words"])
    members = schema.get("anyOf") or schema.get("oneOf")
    if members:
        options = [describe(member, definitions) for member in members if member.get("type") != "null"]
        return ", or ".join(options if len(options) == len(members) else [*options, "null"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema:
        return f"the word {schema['const']}"
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _describe_number(schema)
    if kind == "string":
        return "a name of letters, digits, underscores and dots" if "pattern" in schema else "a text"
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        return _describe_list(schema, definitions)
    keys, named = schema.get("properties"), schema.get("propertyNames")
    if keys:
        return f"a mapping with keys from {', '.join(keys)}"
    if named:
        values = schema.get("additionalProperties") or next(iter(schema["patternProperties"].values()))
        return f"a mapping from {describe(named, definitions)} to {describe(values, definitions)}"
    return "a mapping of at least one block, such as table1" if schema.get("minProperties") else "a mapping"


def _describe_number(schema: Mapping[str, Any]) -> str:
    words = ["a whole number" if schema["type"] == "integer" else "a number"]
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is not None:
        words.append(f"of at least {_bound(low)}")
    if above is not None:
        words.append(f"above {_bound(above)}")
    upper = f"at most {_bound(high)}" if high is not None else f"below {_bound(below)}" if below is not None else ""
    if upper:
        words.append(f"and {upper}" if len(words) > 1 else upper)
    return " ".join(words)


def _bound(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _describe_list(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None) -> str:
    prefix = schema.get("prefixItems")
    if prefix:
        return f"a list of {len(prefix)}, each {describe(prefix[0], definitions)}"
    item = describe(schema["items"], definitions)
    return f"a list of one or more, without repeats, each {item}"


def closest(key: object, allowed: Iterable[str]) -> str | None:
    """The allowed name that is spelled most like this one, if any is close."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(str(key), list(allowed), n=1)), None)


def shown(value: object) -> str:
    """The value as a message repeats it; no more is built of one that aliases of YAML make huge or endless."""
    text, value = "", list(value) if isinstance(value, tuple) else value
    for piece in _representation(value):
        text += piece
        if len(text) > LONGEST_VALUE:
            break
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _representation(value: object) -> Iterator[str]:
    """The pieces of `repr(value)`."""
    if isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _representation(item)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for index, (key, item) in enumerate(value.items()):
            yield f"{', ' if index else ''}{key!r}: "
            yield from _representation(item)
        yield "}"
    else:
        yield repr(value)
