"""Runs as a table for other programs: CSV, and JSON with raw values; a metric stands beside its step."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.files import strict_dumps, write_text_atomic
from kladml_core.runs.plain import inert
from kladml_core.workspace.columns import EXPORTED, columns_of, is_metric
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.values import Value, lookup, param_text, step_of

FORMATS = ("csv", "json")


def to_csv(rows: Sequence[RunRow], columns: Sequence[str] = EXPORTED) -> str:
    """A line of titles and one for each run. Times are unix seconds, spans seconds, tags parted by commas, NaN and the
    infinities `NaN`, `Infinity` and `-Infinity`; behind each metric stands the step that its value is of."""
    values = columns_of(columns, rows)
    stepped = [is_metric(value, rows) for value in values]
    titles: list[str] = []
    for value, metric in zip(values, stepped, strict=True):
        titles += [value.title, f"{value.title} step"] if metric else [value.title]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(inert, titles))
    for row in rows:
        cells: list[str] = []
        for value, metric in zip(values, stepped, strict=True):
            found = lookup(value)(row)
            step = step_of(value, row) if metric else None
            cells += [_cell(found), "" if step is None else str(step)] if metric else [_cell(found)]
        writer.writerow(cells)
    return text.getvalue()


def to_json(rows: Sequence[RunRow], columns: Sequence[str] = EXPORTED) -> list[dict[str, Any]]:
    """An object for each run, by the title of each column; of a metric `{"value": …, "step": …}`; null where a run has
    no such value."""
    values = columns_of(columns, rows)
    stepped = [is_metric(value, rows) for value in values]
    return [
        {value.title: _object(value, row, metric=metric) for value, metric in zip(values, stepped, strict=True)}
        for row in rows
    ]


def export(path: Path, rows: Sequence[RunRow], columns: Sequence[str] = EXPORTED) -> None:
    """Writes runs into a file, whose ending says whether as CSV or JSON, in one step.

    Raises:
        ConfigError: the name ends in neither .csv nor .json.
        UnusableError: it cannot be written.
    """
    kind = check_export(path)
    text = to_csv(rows, columns) if kind == "csv" else strict_dumps(to_json(rows, columns), indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, text)
    except OSError as error:
        raise UnusableError(f"cannot write {path}: {error.strerror}") from error


def check_export(path: Path) -> str:
    """How runs are written into a file: csv or json.

    Raises:
        ConfigError: its name says neither.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(f"{path.name!r} ends neither in .csv nor in .json", hint="The ending says how it is written")
    return kind


def _object(value: Value, row: RunRow, *, metric: bool) -> Any:
    found = lookup(value)(row)
    if value == Value("field", "star"):
        return row.star
    if metric:
        return None if found is None else {"value": found, "step": step_of(value, row)}
    return list(found) if isinstance(found, tuple) else found


def _cell(found: object) -> str:
    if found is None:
        return ""
    if isinstance(found, float) and not math.isfinite(found):
        return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"
    return inert(",".join(found) if isinstance(found, tuple) else param_text(found))
