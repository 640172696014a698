"""Looks through a data file once, in blocks: rows, columns, what each column holds, the first rows, the classes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kladml_core.data.array_stream import npz_batches, safetensors_batches
from kladml_core.data.column_profile import TEXT_CHARACTERS, ColumnProfile
from kladml_core.data.table_choice import NUMBER, TableChoice
from kladml_core.data.table_stream import csv_batches, csv_header, parquet_batches, unique_names
from kladml_core.errors import UnusableError
from kladml_core.workspace.dataset_headers import npz_headers, safetensors_headers

Columns = list[tuple[str, str, tuple[int, ...]]]
"""Name, type and shape of each column."""
Batch = list[Any]
"""Of each column the same rows: a numpy array [n, …], or a pyarrow array of texts."""
PREVIEW_ROWS = 100
PREVIEW_CELLS = 40_000
_DISTINCT, _DISTINCT_OF_ALL = 1000, 100_000


class Profile:
    """What was found out so far.

    Args:
        columns: name, type and shape of each.
        label: the column whose values may be classes.
        parse: whether texts may be numbers, as in a CSV file.
    """

    def __init__(self, columns: Columns, label: str | None, *, parse: bool) -> None:
        distinct = max(50, min(_DISTINCT, _DISTINCT_OF_ALL // max(1, len(columns))))
        self._columns = [ColumnProfile(name, dtype, shape, distinct) for name, dtype, shape in columns]
        self._label = label
        self._parse = parse
        self._wanted = max(5, min(PREVIEW_ROWS, PREVIEW_CELLS // max(1, len(columns))))
        self.preview: list[list[str]] = []
        self.rows = 0

    def add(self, batch: Batch) -> None:
        """Takes some rows in."""
        count = len(batch[0]) if batch else 0
        missing = min(count, self._wanted - len(self.preview))
        if missing > 0:
            cells = [_cells(column, missing) for column in batch]
            self.preview += [list(row) for row in zip(*cells, strict=True)]
        for column, values in zip(self._columns, batch, strict=True):
            if isinstance(values, np.ndarray):
                if values.dtype.kind in "biuf":
                    column.add_numbers(values)
                elif values.dtype.kind in "US":
                    column.add_texts(_arrow_texts(values), parse=False)
                else:
                    column.add_nothing(len(values))
            else:
                self._add_arrow(column, values)
        self.rows += count

    def _add_arrow(self, column: ColumnProfile, values: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = values.type
        if pa.types.is_dictionary(kind):
            values, kind = values.dictionary_decode(), kind.value_type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            values, kind = pc.list_flatten(values), kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column.add_texts(values.cast(pa.string()), parse=self._parse)
        elif pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and not values.null_count):
            column.add_nulls(values.null_count)
            column.add_numbers(values.drop_null().to_numpy(zero_copy_only=False))
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            column.add_nulls(values.null_count)
            column.add_numbers(values.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        elif pa.types.is_temporal(kind):
            column.add_texts(values.cast(pa.string()), parse=False)
        else:
            column.add_nulls(values.null_count)
            column.add_nothing(len(values) - values.null_count)

    def result(self, *, complete: bool, rows: int | None, notes: list[str]) -> dict[str, Any]:
        """Everything, as `Examination.read` takes it."""
        label = next((column for column in self._columns if column.name == self._label), None)
        classes = None if label is None else label.classes()
        return {
            "rows": self.rows if complete else rows,
            "rows_seen": self.rows,
            "complete": complete,
            "columns": [column.result() for column in self._columns],
            "preview": self.preview,
            "label": None if classes is None else self._label,
            "classes": classes,
            "notes": notes,
        }


def profile_file(path: Path, params: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Looks through a file, for so many seconds at most.

    Raises:
        KladMLError: it cannot be used, or the parameters are wrong.
        OSError, ValueError, zipfile.BadZipFile: it is damaged.
    """
    choice = TableChoice.of(params)
    notes: list[str] = []
    if path.suffix == ".csv":
        header = csv_header(path, choice.delimiter)
        names = unique_names(header)
        columns: Columns = [(name, "", ()) for name in names]
        batches: Iterator[Batch] = csv_batches(path, header, choice.delimiter, notes)
        return _look(columns, batches, None, _label(names, choice), seconds, notes, parse=True)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = unique_names(list(schema.names))
            columns = [(name, *_arrow_shape(field.type)) for name, field in zip(names, schema, strict=True)]
            rows = file.metadata.num_rows
            return _look(columns, parquet_batches(file), rows, _label(names, choice), seconds, notes)
    headers = npz_headers(path) if path.suffix == ".npz" else safetensors_headers(path)
    arrays = npz_batches(path) if path.suffix == ".npz" else safetensors_batches(path, headers)
    lengths = {shape[0] if shape else None for _, (_, shape) in headers.items()}
    if len(lengths) != 1 or None in lengths:
        raise UnusableError(f"the arrays of {path} have not the same number of rows")
    columns = [(name, dtype, shape[1:]) for name, (dtype, shape) in headers.items()]
    target = choice.targets[0] if choice.targets else "y"
    return _look(
        columns, ([batch[name] for name in headers] for batch in arrays), lengths.pop(), target, seconds, notes
    )


def _look(
    columns: Columns,
    batches: Iterator[Batch],
    rows: int | None,
    label: str | None,
    seconds: float,
    notes: list[str],
    *,
    parse: bool = False,
) -> dict[str, Any]:
    profile = Profile(columns, label, parse=parse)
    until = time.monotonic() + seconds
    complete = True
    for batch in batches:
        profile.add(batch)
        if time.monotonic() > until and profile.rows != rows:
            complete = False
            break
    return profile.result(complete=complete, rows=rows, notes=notes)


def _label(names: list[str], choice: TableChoice) -> str | None:
    if choice.target_type == NUMBER or len(choice.targets) > 1:
        return None
    return choice.targets[0] if choice.targets else names[-1]


def _arrow_shape(kind: Any) -> tuple[str, tuple[int, ...]]:
    """Type and shape of a row, -1 where lists are of any length."""
    import pyarrow as pa

    shape: list[int] = []
    while True:
        if pa.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            shape.append(-1)
        else:
            return str(kind), tuple(shape)
        kind = kind.value_type


def _arrow_texts(values: np.ndarray[Any, Any]) -> Any:
    import pyarrow as pa

    flat = values.reshape(-1).tolist()
    return pa.array([one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in flat], pa.string())


def _cells(column: Any, count: int) -> list[str]:
    if isinstance(column, np.ndarray):
        rows = column[:count]
        if rows.dtype.kind not in "biufcUSmM":
            return [f"({rows.dtype})"] * len(rows)
        return [_cut(_array_text(row)) if rows.ndim > 1 else _cut(str(row)) for row in rows]
    values = column.slice(0, count).to_pylist()
    return ["" if value is None else _cut(str(value)) for value in values]


def _array_text(row: np.ndarray[Any, Any]) -> str:
    some = row.reshape(-1)[:12].tolist()
    words = " ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in some)
    return f"[{words}{' …' if row.size > len(some) else ''}]"


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…"
