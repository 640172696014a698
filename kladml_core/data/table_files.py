"""Tables as tensors: .csv and .parquet files, of which some columns are inputs and others the targets."""

from __future__ import annotations

import csv
import math
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kladml_core.data.table_choice import CLASS, NUMBER, TableChoice
from kladml_core.errors import ConfigError, UnusableError

Table = np.ndarray[Any, np.dtype[np.float64]]


def load_csv(path: Path, choice: TableChoice) -> tuple[Tensor, Tensor]:
    """Inputs, float32 [n, columns], and targets of a .csv file with a header; see `TableChoice`.

    Only the chosen columns are read as numbers; the cells of others may hold anything.

    Raises:
        UnusableError: a fault of the file, with its line.
        OSError, ValueError: it cannot be read, or is not UTF-8.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=choice.delimiter)
        csv.field_size_limit(sys.maxsize)
        header = next(reader, [])
        if len(header) < 2:
            raise UnusableError(
                f"{path} needs a header with at least two columns",
                hint="columns are parted by commas; params: {delimiter: …} names another character",
                file=str(path),
                line=1,
            )
        inputs, targets = _split(choice, header, path, line=1)
        places = [header.index(name) for name in (*inputs, *targets)]
        first_target = len(inputs)
        cells = array("d")
        whole = choice.target_type != NUMBER
        numbers = {text: float(number) for number, text in enumerate(choice.classes)}
        for row in reader:
            if not row:
                continue
            line = reader.line_num
            if len(row) != len(header):
                raise UnusableError(f"{len(row)} cells in a table of {len(header)} columns", file=str(path), line=line)
            for at, place in enumerate(places):
                text = row[place]
                if at >= first_target:
                    if numbers:
                        cells.append(_class(text.strip(), numbers, header[place], str(path), line))
                        continue
                    whole = whole and _is_whole(text)
                cells.append(_number(text, header[place], path, line))
    if not cells:
        raise UnusableError(f"{path} holds a header and no rows")
    table = np.frombuffer(cells, np.float64).reshape(-1, len(places))
    return _tensors(table, first_target, choice, whole, path)


def load_parquet(path: Path, choice: TableChoice) -> tuple[Tensor, Tensor]:
    """As `load_csv`, of a .parquet file; columns of lists that are all of one length count as that many columns.

    Raises:
        UnusableError: a fault of the file, with the column and the row.
        OSError, ValueError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        inputs, targets = _split(choice, schema.names, path)
        whole = choice.target_type != NUMBER and all(
            pa.types.is_integer(schema.field(name).type)
            or pa.types.is_boolean(schema.field(name).type)
            or choice.classes
            for name in targets
        )
        numbers = {text: float(number) for number, text in enumerate(choice.classes)}
        parts: list[Table] = []
        first_target, done = 0, 0
        for batch in file.iter_batches(batch_size=65536, columns=[*inputs, *targets]):
            held = {name: batch.column(name) for name in (*inputs, *targets)}
            x = [_parquet_column(held[name], name, {}, path, done) for name in inputs]
            y = [_parquet_column(held[name], name, numbers, path, done) for name in targets]
            first_target = sum(part.shape[1] for part in x)
            part = np.concatenate([*x, *y], axis=1)
            if parts and part.shape[1] != parts[0].shape[1]:
                raise UnusableError(f"the lists of {path} are not all of one length")
            parts.append(part)
            done += len(part)
    if not done:
        raise UnusableError(f"{path} holds no rows")
    return _tensors(np.concatenate(parts), first_target, choice, whole, path)


def _split(
    choice: TableChoice, names: Sequence[str], path: Path, line: int | None = None
) -> tuple[list[str], list[str]]:
    try:
        return choice.split(names)
    except ConfigError as error:
        raise UnusableError(error.message, hint=error.hint, file=str(path), line=line) from None


def _tensors(table: Table, first_target: int, choice: TableChoice, whole: bool, path: Path) -> tuple[Tensor, Tensor]:
    inputs = torch.from_numpy(np.ascontiguousarray(table[:, :first_target])).to(torch.get_default_dtype())
    targets = table[:, first_target:]
    if choice.target_type == CLASS or (whole and targets.shape[1] == 1):
        if targets.shape[1] != 1 or not np.equal(np.mod(targets, 1), 0).all():
            raise UnusableError(
                f"the target of {path} is no class: not all of it are whole numbers",
                hint="name its texts under params: {classes: […]}, or leave target_type: class out",
            )
        return inputs, torch.from_numpy(targets[:, 0].astype(np.int64))
    return inputs, torch.from_numpy(np.ascontiguousarray(targets)).to(torch.get_default_dtype())


def _parquet_column(column: Any, name: str, numbers: dict[str, float], path: Path, before: int) -> Table:
    """One column of a batch, float64 [n, values in a cell]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = before + int(np.flatnonzero(np.asarray(column.is_null()))[0]) + 1
        raise UnusableError(f"row {row} has no value in column {name!r}", file=str(path))
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if numbers:
        texts = column.cast(pa.string()).to_pylist()
        found = [_class(text, numbers, name, str(path), None, row) for row, text in enumerate(texts, before + 1)]
        return np.array(found, np.float64)[:, None]
    width = 1
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) != 1:
            raise UnusableError(f"the lists in column {name!r} are not all of one length", file=str(path))
        width *= lengths[0]
        column, kind = pc.list_flatten(column), kind.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or _decimal(kind)):
        raise UnusableError(
            f"column {name!r} holds {kind}, which is no number",
            hint="choose other columns with params: {columns: […]}, or turn categories into numbers first",
            file=str(path),
        )
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).reshape(-1, width)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if wrong.size:
        raise UnusableError(f"row {before + int(wrong[0]) + 1} of column {name!r} is not finite", file=str(path))
    return np.asarray(values, np.float64)


def _decimal(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_decimal(kind))


def _class(
    text: str, numbers: dict[str, float], column: str, file: str, line: int | None, row: int | None = None
) -> float:
    try:
        return numbers[text]
    except KeyError:
        where = f" (row {row})" if row is not None else ""
        raise UnusableError(
            f"{_cut(text)!r} in column {column!r}{where} is none of the classes",
            hint=f"params: classes names {', '.join(list(numbers)[:10])}",
            file=file,
            line=line,
        ) from None


def _is_whole(cell: str) -> bool:
    return cell.strip().removeprefix("-").isdecimal()


def _number(cell: str, column: str, path: Path, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise UnusableError(
            f"{_cut(cell)!r} in column {column!r} is not a number",
            hint="turn categories into numbers first; params: columns chooses columns, classes names labels",
            file=str(path),
            line=line,
        ) from None
    if not math.isfinite(value):
        raise UnusableError(f"{_cut(cell)!r} in column {column!r} is not a finite number", file=str(path), line=line)
    return value


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
