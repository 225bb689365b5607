"""The JSON Schema and the reference page are those of the code, and editors accept what the package accepts."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from mpdit.experiment.reference import JSON_SCHEMA, PAGE, json_schema, reference_page
from mpdit.experiment.schema import Block, Configuration

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "workflow/config").glob("*.yaml"))]


def test_the_shipped_json_schema_is_generated_from_the_code():
    assert json.loads((ROOT / JSON_SCHEMA).read_text()) == json_schema(), "run python -m mpdit.experiment.reference"


def test_the_reference_page_is_generated_from_the_code():
    assert (ROOT / PAGE).read_text() == reference_page(), "run python -m mpdit.experiment.reference"


def test_every_key_has_a_meaning_and_a_row():
    page = reference_page()
    for name, field in {**Configuration.model_fields, **Block.model_fields}.items():
        assert field.description, name
    for section in ("data", "training", "sampling", "scoring", "tracing", "execution"):
        for name, field in Configuration.model_fields[section].annotation.model_fields.items():
            assert field.description and f"| `{name}` |" in page, name


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_configurations_satisfy_the_schema_that_they_name(path):
    first = path.read_text().splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    schema = json.loads((path.parent / first.removeprefix(prefix)).read_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)


def test_an_editor_accepts_single_values_for_lists_and_marks_mistakes():
    configuration = yaml.safe_load((ROOT / "config.yaml").read_text())
    validator = jsonschema.Draft202012Validator(json_schema())
    block = configuration["experiments"]["table1"]
    for key, value in {"model": "DiT-S/2", "config": "E", "seed": 0, "lr": 1e-3}.items():
        changed = copy.deepcopy(configuration)
        changed["experiments"]["table1"] = {**block, key: value}
        assert validator.is_valid(changed), key
    for key, value in {"model": "DiT-S/3", "seed": -1, "lr": 0, "widths": 1, "config": ["A", "A"]}.items():
        changed = copy.deepcopy(configuration)
        changed["experiments"]["table1"] = {**block, key: value}
        assert not validator.is_valid(changed), key
