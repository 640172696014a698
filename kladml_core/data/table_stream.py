"""Tables of a .csv or .parquet file some rows at a time, read by pyarrow; nothing of a file's metadata is executed."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from kladml_core.errors import UnusableError

BLOCK_BYTES = (4 << 20, 64 << 20)
"""Of a CSV file at once; the larger one where a row is longer than the smaller."""
_ROWS = 16384
_LOOKED_AT = 100
_TOLD = 3


def csv_header(path: Path, delimiter: str) -> list[str]:
    """The names of a CSV file's columns as they stand there.

    Raises:
        UnusableError: there are none, or the file is not UTF-8.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(_bounded(file), delimiter=delimiter), [])
    except UnicodeDecodeError as error:
        raise UnusableError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}", hint="save it as UTF-8"
        ) from None
    except csv.Error as error:
        raise UnusableError(f"the header of {path} cannot be read: {error}") from None
    if not header:
        raise UnusableError(f"{path} is empty", hint="the first line names the columns")
    return header


def found_delimiter(path: Path) -> str | None:
    """What else than commas parts the cells of a CSV file: one of ; tab |, where it gives its header and all of its
    first rows the same number of cells, more than one, and commas give the header one alone.

    Raises:
        OSError: it cannot be read.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(islice(_bounded(file), _LOOKED_AT))
    except UnicodeDecodeError:
        return None  # reading it will say so
    best, most = None, 1
    for delimiter in ",;\t|":
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if delimiter == "," and widths[:1] != [1]:
            return None
        if len(lines) == _LOOKED_AT:
            del widths[-1:]  # it may go on in the next line
        if len(set(widths)) == 1 and widths[0] > most:
            best, most = delimiter, widths[0]
    return best


def csv_batches(path: Path, names: list[str], delimiter: str, notes: list[str]) -> Iterator[list[Any]]:
    """The columns of the rows of a CSV file as pyarrow arrays of texts, block by block.

    Args:
        path: the file.
        names: its header.
        delimiter: between cells.
        notes: what is wrong with some rows, which are left out, is put in here.

    Raises:
        UnusableError: it is not UTF-8, or a row is longer than the larger block.
        OSError, ValueError: it cannot be read.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    wrong = _WrongRows()
    columns = [f"c{number}" for number in range(len(names))]
    with path.open("rb") as file:
        longest = max(map(len, file.readlines(1 << 16)), default=0)
    block = BLOCK_BYTES[0] if longest < BLOCK_BYTES[0] // 4 else BLOCK_BYTES[1]
    started = False
    while True:
        try:
            reader = arrow.open_csv(
                str(path),
                read_options=arrow.ReadOptions(
                    use_threads=False, block_size=block, column_names=columns, skip_rows_after_names=1
                ),
                parse_options=arrow.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=wrong.leave_out
                ),
                convert_options=arrow.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
            )
            for batch in reader:
                started = True
                if batch.num_rows:
                    yield list(batch.columns)
            break
        except pa.ArrowInvalid as error:
            text = str(error)
            if "straddl" in text and not started and block < BLOCK_BYTES[1]:
                block = BLOCK_BYTES[1]
                continue
            if "Empty CSV" in text:
                break
            if "straddl" in text:
                raise UnusableError(
                    f"a row of {path} is longer than {block >> 20} MiB, or a quote in it is never closed"
                ) from None
            if "UTF8" in text or "UTF-8" in text:
                raise UnusableError(f"{path} is not UTF-8", hint="save it as UTF-8") from None
            raise UnusableError(f"{path} cannot be read: {text}") from None
    if wrong.count:
        words = "row has" if wrong.count == 1 else "rows have"
        notes.append(
            f"{wrong.count:,} {words} another number of cells than the header, and not read: {'; '.join(wrong.told)}"
        )


class _WrongRows:
    """Rows that do not fit the header: how many, and the first few in words."""

    def __init__(self) -> None:
        self.count = 0
        self.told: list[str] = []

    def leave_out(self, row: Any) -> str:
        """What pyarrow calls for each."""
        self.count += 1
        if len(self.told) < _TOLD:
            where = f"row {row.number}: " if row.number is not None else ""
            self.told.append(f"{where}{row.actual_columns} cells instead of {row.expected_columns}")
        return "skip"


def parquet_batches(file: Any) -> Iterator[list[Any]]:
    """The columns of the rows of an open ParquetFile as pyarrow arrays."""
    for batch in file.iter_batches(batch_size=_ROWS):
        if batch.num_rows:
            yield list(batch.columns)


def unique_names(names: list[str]) -> list[str]:
    """The names with those that are empty or there twice told apart."""
    seen: set[str] = set()
    found = []
    for number, name in enumerate(names, 1):
        base = name if name.strip() else f"column {number}"
        unique, again = base, 2
        while unique in seen:
            unique, again = f"{base} ({again})", again + 1
        seen.add(unique)
        found.append(unique)
    return found


def _bounded(file: Any) -> Iterator[str]:
    """The first lines of a file: a header without an end must not be read into memory for ever."""
    left = BLOCK_BYTES[1]
    while left > 0 and (line := file.readline(left)):
        left -= len(line)
        yield line
