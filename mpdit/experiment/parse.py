"""A configuration file -> a validated `schema.Configuration`, or one line for each mistake in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from ..system.errors import UserError, in_one_line
from ..system.files import parse_json, read_json
from ..system.seals import CHANGED, damaged, inspect
from .checks import data_problems
from .definitions import Definitions, study_ladder
from .fields import OWN_WORDS, UNKNOWN_NAME, closest, describe, shown
from .ladder import SHIPPED, Ladder
from .remedies import remedy
from .schema import Configuration, Data
from .study_file import with_study
from .yaml_text import load_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]
Model = TypeVar("Model", bound=BaseModel)


def parse_configuration(values: object) -> Configuration:
    """The validated configuration of a mapping. UserError with one line per mistake, each naming the field."""
    return validated(Configuration, values, "configuration", ladder=ladder_of(values))


def read_ladder(text: str | None) -> Ladder:
    """The ladder of a study: of its configuration's YAML file, or of the JSON itself; the shipped one without a study.

    Runs the Python file that the study names. UserError for mistakes in what defines the ladder; the rest of the
    configuration is not checked.
    """
    if text is None:
        return SHIPPED
    is_file = not text.lstrip().startswith("{")
    values = read_configuration(text) if is_file else load_yaml(text, "CONFIGURATION")
    values = with_study(values, Path(text).parent if is_file else ".")
    try:
        return ladder_of(values)
    except UserError as error:
        raise UserError(in_file(str(error), text) if is_file else str(error)) from None


def in_file(problems: str, path: str | Path) -> str:
    """The lines of a message, each naming the file."""
    return "\n".join(f"{path}: {line}" for line in problems.splitlines())


def ladder_of(values: object) -> Ladder:
    """The ladder of a configuration that is not yet validated, or of a plan.json, which repeats what defines it.

    UserError for mistakes there.
    """
    if not isinstance(values, Mapping):
        return SHIPPED
    own = {key: values[key] for key in Definitions.model_fields if key in values}
    definitions = validated(Definitions, own, "configuration")
    return study_ladder(definitions.configs, definitions.sizes)


def parse_data(values: object) -> Data:
    """The validated `data` section. UserError with one line per mistake, each naming the field."""
    data = validated(Data, values, "data", prefix=("data",))
    raise_problems(data_problems(data))
    return data


def read_data(text: str) -> Data:
    """The `data` section of a command line: a JSON file, or the JSON itself."""
    if not text.lstrip().startswith("{"):
        return parse_data(read_json(text))
    return parse_data(parse_json(text, "DATA_JSON"))


def raise_problems(problems: Sequence[str]) -> None:
    """UserError with one line per problem, if there are any."""
    if problems:
        raise UserError("\n".join(problems))


# ---------------------------------------------------------------------------------------------------------------------
# YAML


def read_configuration(path: str | Path) -> dict[str, Any]:
    """The mapping of a configuration's YAML file, not yet validated.

    UserError, one line that names the file, for one that cannot be read, bad YAML, a key given twice, and for anything
    but a mapping.
    """
    try:
        if inspect(path).damage == CHANGED:  # results/configuration.yaml: others have no seal
            raise damaged(path, CHANGED, f"copy it under another name to change it, or {remedy(path)}")
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; expected a YAML file") from None
    except OSError as error:
        raise UserError(f"{in_one_line(error, path)}; expected a YAML file") from None
    values = load_yaml(text, str(path))
    if not isinstance(values, dict):
        keys = ", ".join(Configuration.model_fields)
        raise UserError(f"{path}: expected a mapping with keys from {keys}, got {shown(values)}")
    return values


# ---------------------------------------------------------------------------------------------------------------------
# From pydantic's errors to one line per mistake


class _Place(NamedTuple):
    """Where in a file a mapping is."""

    name: str  # what to call it where the mapping itself is wrong
    prefix: Location

    def dotted(self, location: Location) -> str:
        """`experiments.table1.lr[1]`."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in (*self.prefix, *location))
        return "".join(parts).removeprefix(".") or self.name


def validated(model: type[Model], values: object, name: str, prefix: Location = (), ladder: Ladder = SHIPPED) -> Model:
    """The model of a mapping whose configurations and models are those of a ladder.

    UserError with one line per mistake; `prefix` is where in the file the mapping is.
    """
    if not isinstance(values, Mapping):
        keys = ", ".join(model.model_fields)
        raise UserError(f"{name}: expected a mapping with keys from {keys}, got {shown(values)}")
    try:
        return model.model_validate(dict(values), context=ladder)
    except ValidationError as error:
        _raise_validation_error(model, values, error, _Place(name, prefix))


def _raise_validation_error(
    model: type[BaseModel], values: object, error: ValidationError, place: "_Place"
) -> NoReturn:
    schema = model.model_json_schema()
    mistakes = error.errors(include_url=False)
    # A list with a wrong item is also reported as too short, without that item.
    whole = {details["loc"][:end] for details in mistakes for end in range(len(details["loc"]))}
    problems = dict.fromkeys(
        _message(details, schema, values, place)
        for details in mistakes
        if details["loc"] not in whole and details["type"] != "none_required"  # the other member of a union with null
    )
    raise UserError("\n".join(problems)) from None


def _message(details: "ErrorDetails", schema: Mapping[str, Any], values: object, place: "_Place") -> str:
    """One line for one of pydantic's errors: the field, what was expected, what was found."""
    location = tuple(part for part in details["loc"] if not _is_tag(part))
    if location and (location[-1] == "[key]" or details["type"] == "invalid_key"):
        return _wrong_key(details, schema, place)
    if details["type"] == "missing" and isinstance(location[-1], int):  # a list of a fixed length that is too short
        location = location[:-1]
    node = _node(schema, _without_labels(location, schema))
    location, value = _visible(location, values)
    where = place.dotted(location)
    match details["type"]:
        case "extra_forbidden":
            parent = _node(schema, location[:-1])
            return _unknown_key(place.dotted(location[:-1]), location[-1], list(parent.get("properties", {})))
        case "missing" if value is None:
            return f"{where}: missing; expected {describe(node, schema.get('$defs'))}"
        case own if own in (OWN_WORDS, UNKNOWN_NAME):
            return f"{where}: expected {details['msg']}, got {shown(value)}"
    return f"{where}: expected {describe(node, schema.get('$defs'))}, got {shown(value)}"


def _wrong_key(details: "ErrorDetails", schema: Mapping[str, Any], place: "_Place") -> str:
    """One line for a key of a mapping that is no name, or none of the names that it may be."""
    location = tuple(part for part in details["loc"] if part != "[key]" and not _is_tag(part))
    parent = _resolved(_node(schema, location[:-1]), schema.get("$defs", {}))
    names = parent.get("propertyNames", {})
    allowed = list(parent.get("properties") or names.get("enum", ()))
    key = details["input"] if details["type"] != "invalid_key" else location[-1]
    where = place.dotted(location[:-1])
    if details["type"] == UNKNOWN_NAME:
        return _unknown_key(where, key, details["ctx"]["listed"], details["msg"])
    if allowed:
        return _unknown_key(where, key, allowed)
    expected = details["msg"] if details["type"] == OWN_WORDS else "a name of letters, digits, underscores and dots"
    return f"{where}: expected {expected}, got {shown(key)}"


def _unknown_key(where: str, key: object, allowed: list[str], words: str = "") -> str:
    near = closest(key, allowed)
    hint = f" (did you mean {near!r}?)" if near else ""
    return f"{where}: unknown key {key!r}{hint}; expected {words or 'one of ' + ', '.join(allowed)}"


def _is_tag(part: int | str) -> bool:
    """Whether a part of pydantic's location is the tag of a union's member, such as `<list>`."""
    return isinstance(part, str) and part.startswith("<")


def _visible(location: Location, values: object) -> tuple[Location, object]:
    """The part of pydantic's location that a reader sees in the file, and the value there.

    Left out are an index into a list that was a single value, and the labels that pydantic adds for members of a union.
    """
    visible: list[int | str] = []
    for part in location:
        if isinstance(part, int) and isinstance(values, list | tuple):
            values = values[part] if part < len(values) else None
        elif isinstance(part, str) and (values is None or isinstance(values, Mapping)):
            values = values.get(part) if isinstance(values, Mapping) else None
        else:
            continue
        visible.append(part)
    return tuple(visible), values


def _without_labels(location: Location, schema: Mapping[str, Any]) -> Location:
    """pydantic's location without the labels that it adds for members of a union, which no schema knows."""
    kept: Location = ()
    for part in location:
        if isinstance(part, int) or not kept or _has_key(_resolved(_node(schema, kept), schema.get("$defs", {})), part):
            kept += (part,)
    return kept


def _has_key(node: Mapping[str, Any], key: str) -> bool:
    return node.get("type") == "object" and (key in node.get("properties", {}) or "properties" not in node)


def _node(schema: Mapping[str, Any], location: Location) -> Mapping[str, Any]:
    """The part of a JSON Schema that describes the value at a location."""
    definitions, node = schema.get("$defs", {}), schema
    for part in location:
        node = _resolved(node, definitions)
        if isinstance(part, int):
            node = (node.get("prefixItems") or [node.get("items", {})] * (part + 1))[part]
        else:
            properties = node.get("properties", {})
            extra = node.get("additionalProperties")
            patterns = list(node.get("patternProperties", {}).values())
            node = properties.get(part) or (extra if isinstance(extra, dict) else patterns[0] if patterns else {})
    return _resolved(node, definitions, nullable=True)


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any], nullable: bool = False) -> Mapping[str, Any]:
    if "$ref" in node:
        definition: Mapping[str, Any] = definitions[node["$ref"].rpartition("/")[2]]
        return definition
    members = node.get("anyOf") or node.get("oneOf")
    if members and not nullable:  # the member that has items or keys
        return next((member for member in members if member.get("type") in ("array", "object")), members[0])
    return node
