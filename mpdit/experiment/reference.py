"""What is generated from the schema: the JSON Schema that editors read, and the reference page of every key.

`python -m mpdit.experiment.reference` writes both again; a test holds them to the code.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .fields import describe
from .schema import Configuration

JSON_SCHEMA = Path("workflow/schema/configuration.json")
PAGE = Path("docs/reference/configuration.md")
INTRODUCTION = """\
# Configuration reference

Every key of a configuration file, generated from `mpdit/experiment/schema.py` by
`python -m mpdit.experiment.reference`. `config.yaml` is a complete example with the reasons for its
values. Unknown keys, keys given twice and wrong values are errors that name the field. Where a list is expected, a
single value stands for a list of one; a number may be spelled as text (`1e-4` is text to YAML).

An editor with a YAML language server completes and checks keys when the file begins with
`# yaml-language-server: $schema=` and the path of `workflow/schema/configuration.json`, as the shipped configurations
do.
"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, as an editor should read it: a scalar may stand for a list of one."""
    schema = _for_editors(Configuration.model_json_schema())
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mpdit configuration"}
    return {**title, **{key: value for key, value in schema.items() if key != "title"}}


def _for_editors(node: Any) -> Any:
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Titles of fields repeat their names; keys that begin with x- are for our own messages.
    names = node.get("properties") is not None
    kept = {key: _for_editors(value) for key, value in node.items() if not _is_internal(key, value, names)}
    if node.get("x-open") and "enum" in kept:  # a study may add names
        kept["anyOf"] = [{"enum": kept.pop("enum")}, {"pattern": node["x-open"]}]
    if kept.get("type") == "array" and "items" in kept:
        lifted = {key: kept.pop(key) for key in ("description", "default") if key in kept}
        return {"anyOf": [kept["items"], {**kept, "uniqueItems": True}], **lifted}
    return kept


def _is_internal(key: str, value: Any, has_properties: bool) -> bool:
    return key.startswith("x-") or (key == "title" and isinstance(value, str) and not has_properties)


def reference_page() -> str:
    """Markdown: one table per section, one row per key with what it may be, its default, its unit and its meaning."""
    schema = Configuration.model_json_schema()
    lines = [INTRODUCTION]
    for name, node in schema["properties"].items():
        lines += [f"## `{name}`", "", _sentence(node), ""]
        section = _section(node, schema["$defs"])
        expected = f"Expected: {describe(node, schema['$defs'])}."
        lines += [*(_table(section, schema["$defs"]) if section else [expected]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a section, or of what stands under each name in it; None where it has no keys of its own."""
    named = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    references = [part["$ref"] for part in (node, *named) if isinstance(part, dict) and "$ref" in part]
    section: dict[str, Any] | None = definitions[references[0].rpartition("/")[2]] if references else None
    return section


def _sentence(node: dict[str, Any]) -> str:
    description = str(node["description"])
    return f"{description[0].upper()}{description[1:]}."


def _table(section: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    yield "| key | what it may be | default | unit | meaning |"
    yield "|---|---|---|---|---|"
    required = section.get("required", ())
    for key, node in section["properties"].items():
        override = "$ref" in node  # a section of which a block replaces single keys
        allowed = "a mapping" if override else describe(node, definitions)
        default = "required" if key in required else "" if override else f"`{json.dumps(node.get('default'))}`"
        if default == "`null`" and "null" not in allowed:  # a key that may be left out, and then says nothing
            default = ""
        cells = (f"`{key}`", allowed, default, node.get("x-unit", ""), node["description"])
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    """Write both files below the working folder, the root of the repository."""
    for path, text in ((JSON_SCHEMA, json.dumps(json_schema(), indent=2) + "\n"), (PAGE, reference_page())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
