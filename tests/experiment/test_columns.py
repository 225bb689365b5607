"""The columns of aggregated CSVs."""

import pytest

from mpdit.experiment.columns import AGGREGATES, SCHEMAS

DTYPES = {"str", "Int64", "float64", "boolean"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_consistent(name):
    schema = SCHEMAS[name]
    assert schema.name == name
    assert len(set(schema.names)) == len(schema.names)
    assert set(schema.dtypes.values()) <= DTYPES
    assert set(schema.key) | set(schema.finite) <= set(schema.names)
    assert all(column.meaning for column in schema)


def test_a_column_means_the_same_type_in_every_file():
    types: dict[str, set[str]] = {}
    for schema in SCHEMAS.values():
        for column in schema:
            types.setdefault(column.name, set()).add(column.dtype)
    assert all(len(found) == 1 for found in types.values())
    assert set(AGGREGATES) <= set(SCHEMAS)
