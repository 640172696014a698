"""Columns of texts that a training would take for numbers: told from a registration, without a look at the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kladml_core.data.table_choice import TableChoice
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.workspace.datasets import DatasetRegistration

_TABLES = ("csv", "parquet")
_TEXT = ("text", "string", "large_string", "dictionary<values=string", "dictionary<values=large_string")
"""What types of such columns begin with: of a CSV file, then of a Parquet file."""


def text_fault(registration: DatasetRegistration, params: Mapping[str, Any]) -> UnusableError | None:
    """What would end a run on a registered table: labels without classes, or inputs, that are texts.

    Of other data, of a table too wide for its registration, and of one that is looked at in another way than when it
    was registered, nothing is known.

    Args:
        registration: of data that is as it was registered.
        params: the config's `data.params`, which go over those of the registration.

    Returns:
        the error; None where nothing is wrong, or nothing is known.
    """
    columns = registration.columns
    if registration.format not in _TABLES or not columns or registration.column_count > len(columns):
        return None
    try:
        choice = TableChoice.of({**registration.params, **params})
        if choice.delimiter != TableChoice.of(registration.params).delimiter:
            return None
        inputs, targets = choice.split(list(columns))
    except ConfigError:
        return None  # wrong parameters are told where they stand
    texts = [name for name in (*targets, *inputs) if columns[name].dtype.startswith(_TEXT)]
    wrong = next((name for name in texts if name in inputs or not choice.classes), None)
    if wrong is None:
        return None
    held = f"column {wrong!r} of dataset {registration.name!r} holds texts"
    if wrong in targets:
        return UnusableError(
            f"{held}, and no classes say which number each is", hint="Write params: {classes: […]} with its texts"
        )
    return UnusableError(f"{held}, and inputs are numbers", hint="Choose other columns with params: {columns: […]}")
