"""Reading, checking and writing the CSVs of `experiment.columns`.

A file that cannot be trusted is an error: one with a missing column, a repeated row, or no finite number where a number
must be.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..experiment.columns import EMA_WIDTH, NO_EMA, TableSchema
from ..experiment.remedies import remedy
from ..system.errors import UserError
from ..system.files import replacing
from ..system.seals import read_intact

if TYPE_CHECKING:
    import pandas as pd

Tables = dict[str, "pd.DataFrame"]  # by the name of their schema

MISSING = ("", "nan")  # cells without a value


def read_table(path: str | Path, schema: TableSchema) -> pd.DataFrame:
    """A checked table with the columns of the schema; others are left out.

    Texts are `str`, truth values `boolean`, numbers `int64` or `float64` (also whole numbers, where one is missing).
    Raises UserError, one line that names the file, for a file that cannot be trusted.
    """
    import pandas as pd

    dtypes = {name: dtype for name, dtype in schema.dtypes.items() if dtype in ("str", "boolean")}
    missing = {name: [*MISSING, NO_EMA] if name == EMA_WIDTH.name else list(MISSING) for name in schema.names}
    frame = _read_csv(_content(path), path, dtype=dtypes, na_values=missing)
    frame = check(frame.assign(**_added(frame, schema)), path, schema)
    if frame.empty:
        return empty_table(schema)
    for name in schema.names:
        if name not in dtypes and not pd.api.types.is_numeric_dtype(frame[name]):
            raise UserError(f"{path}: column {name}: must hold numbers alone")
    return frame


def read_text(path: str | Path, schema: TableSchema, source: IO[str] | None = None) -> pd.DataFrame:
    """The CSV at `path`, or in `source`, with the text of every cell as it is, before any check.

    Only the missing EMA width of version 0.1 is brought to its present form, an empty cell.
    """
    frame = _read_csv(_content(path) if source is None else source, path, dtype=str)
    if EMA_WIDTH in schema.columns and EMA_WIDTH.name in frame:
        frame[EMA_WIDTH.name] = frame[EMA_WIDTH.name].replace(NO_EMA, "")
    return frame.assign(**{name: "" if value != value else value for name, value in _added(frame, schema).items()})


def _added(frame: pd.DataFrame, schema: TableSchema) -> dict[str, str | float]:
    """What columns hold that earlier versions did not write, where the frame lacks them."""
    return {column.name: column.before for column in schema if column.before is not None and column.name not in frame}


def read_run_rows(path: Path, schema: TableSchema, run: str, **added: str) -> pd.DataFrame:
    """The rows of a run's own file as text, with the columns that only the aggregated table has in `added`.

    There are none where there is no file yet. Raises UserError as `read_table` does, and for rows of another run.
    """
    if not path.exists():
        return empty_text_table(schema)
    frame = check(read_text(path, schema), path, schema, absent=added)
    foreign = sorted(set(frame["run"]) - {run})
    if foreign:
        raise UserError(f"{path}: belongs to run {foreign[0]}: must belong to {run}, whose folder it is in")
    return frame.assign(**added)[list(schema.names)]


def empty_text_table(schema: TableSchema) -> pd.DataFrame:
    """A table without rows, of the kind that `read_text` returns."""
    import pandas as pd

    return pd.DataFrame(columns=list(schema.names), dtype=str)


def empty_table(schema: TableSchema) -> pd.DataFrame:
    """A table without rows, of the kind that `read_table` returns."""
    dtypes = {name: "float64" if dtype == "Int64" else dtype for name, dtype in schema.dtypes.items()}
    return empty_text_table(schema).astype(dtypes)


def check(frame: pd.DataFrame, path: str | Path, schema: TableSchema, absent: Collection[str] = ()) -> pd.DataFrame:
    """The schema's columns of the frame, all but those in `absent`. Raises UserError for what cannot be trusted."""
    import pandas as pd

    columns = [name for name in schema.names if name not in absent]
    missing = [name for name in columns if name not in frame]
    if missing:
        raise UserError(f"{path}: missing column {', '.join(missing)}: an older version wrote this file, make it again")
    frame = frame[columns]
    key = [name for name in schema.key if name in frame]
    repeated = frame[frame.duplicated(key)]
    if len(repeated):
        raise UserError(f"{path}: two rows for {_row_name(repeated.iloc[0], key)}: must be one")
    for name in schema.finite:
        values = frame.loc[_is_measured(frame, name), name]
        numbers = pd.to_numeric(values, errors="coerce")
        bad = numbers.index[~numbers.abs().lt(float("inf"))]
        if len(bad):
            row = frame.loc[bad[0]]
            value = "nothing" if _is_missing(row[name]) else row[name]
            raise UserError(f"{path}: {name} of {_row_name(row, key)}: found {value}: must be a finite number")
    return frame


def _is_measured(frame: pd.DataFrame, column: str) -> pd.Series[bool]:
    """Which rows must hold a number: a step that diverged has no loss, precomputed statistics have no KID."""
    import pandas as pd

    if column == "loss" and "status" in frame:
        return frame["status"] != "diverged"
    if column == "kid":
        return frame["reference_count"].notna() & (frame["reference_count"] != "")
    return pd.Series(True, index=frame.index)


def _row_name(row: pd.Series[Any], key: Sequence[str]) -> str:
    """A row's key in words, without the columns that have no value there."""
    return ", ".join(f"{name} {row[name]}" for name in key if not _is_missing(row[name]))


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value)) or value == ""


def _content(path: str | Path) -> IO[bytes]:
    """The bytes of a file, after they were compared with its seal."""
    return io.BytesIO(read_intact(path, remedy(path)))


def _read_csv(source: IO[str] | IO[bytes], path: str | Path, **options: Any) -> pd.DataFrame:
    """`pandas.read_csv(source)` with UserErrors that name `path`."""
    import pandas as pd

    try:
        frame: pd.DataFrame = pd.read_csv(source, keep_default_na=False, **options)
        return frame
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: empty: must have a line of column names") from None
    except (ValueError, OSError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path}: not a CSV ({' '.join(str(error).split())})") from None


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write one table as a CSV."""
    with replacing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def write_tables(tables: Mapping[str, pd.DataFrame], folder: str | Path) -> None:
    """Write each table as `<name>.csv` into `folder`."""
    for name, table in tables.items():
        write_table(table, Path(folder) / f"{name}.csv")
