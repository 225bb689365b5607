"""CSVs are read with the types that their schema declares, and written as they were read."""

import math

import pandas as pd
import pytest
from helpers.made_up_runs import entry, planned, run_row, write_run

from mpdit.experiment.columns import COST, FID, MAGNITUDES, RUNS, SCHEMAS
from mpdit.results.collect import collect
from mpdit.results.tables import empty_table, read_run_rows, read_table, read_text, write_tables
from mpdit.system.errors import UserError


def test_tables_are_read_as_they_were_written(tmp_path):
    entries = [entry("A"), entry("E")]
    write_run(tmp_path / "runs", entries[0], fid=0.1 + 0.2)
    write_tables(collect(planned(*entries), tmp_path / "runs"), tmp_path)
    fid = read_table(tmp_path / "fid.csv", FID)
    assert fid["fid"].tolist() == [0.1 + 0.2]
    assert fid["ema_width"].tolist() == [0.05]
    assert fid["fid_rank_deficient"].dtype == "boolean"
    runs = read_table(tmp_path / "runs.csv", RUNS)
    assert runs["paper_setting"].tolist() == [False, False]
    assert runs["parameters"].isna().tolist() == [False, True]
    assert (tmp_path / "runs.csv").read_text().splitlines()[2].endswith("missing,,100,,,,,,,,,")
    with pytest.raises(UserError, match=r"cost.csv: no such file$"):
        read_table(tmp_path / "cost.csv", COST)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_header_alone_is_a_table_without_rows_with_all_types(tmp_path, name):
    schema = SCHEMAS[name]
    (tmp_path / "header.csv").write_text(",".join(schema.names) + "\n")
    table = read_table(tmp_path / "header.csv", schema)
    assert table.empty
    assert table.dtypes.equals(empty_table(schema).dtypes)
    kinds = {column: dtype.kind for column, dtype in table.dtypes.items()}
    assert kinds == {column: {"str": "O", "boolean": "b"}.get(dtype, "f") for column, dtype in schema.dtypes.items()}


def test_words_in_a_column_of_numbers_are_one_line(tmp_path):
    row = dict.fromkeys(COST.names, "1") | {"flops": "many"}
    (tmp_path / "cost.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    with pytest.raises(UserError, match=r"cost.csv: column flops: must hold numbers alone$"):
        read_table(tmp_path / "cost.csv", COST)
    row["flops"], row["relative"] = "1", ""
    (tmp_path / "cost.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    with pytest.raises(UserError, match=r"relative of model 1, .*: found nothing: must be a finite number$"):
        read_table(tmp_path / "cost.csv", COST)


def test_a_run_without_a_file_has_no_rows(tmp_path):
    rows = read_run_rows(tmp_path / "magnitudes.csv", MAGNITUDES, "a-run")
    assert rows.empty
    assert tuple(rows.columns) == MAGNITUDES.names


def test_columns_that_version_0_1_did_not_write_are_filled(tmp_path):
    runs = pd.DataFrame([run_row(entry())]).drop(columns=["tuning", "tuning_rates"])
    runs.to_csv(tmp_path / "runs.csv", index=False)
    (row,) = read_table(tmp_path / "runs.csv", RUNS).to_dict("records")
    assert row["tuning"] == "given" and math.isnan(row["tuning_rates"])
    (text,) = read_text(tmp_path / "runs.csv", RUNS).to_dict("records")
    assert (text["tuning"], text["tuning_rates"]) == ("given", "")
