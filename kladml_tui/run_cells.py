"""What stands in a cell of a table of runs: a value of a run as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml_core.workspace.values import SPANS, TIMES, Value, lookup, number_of, param_text, step_of
from kladml_tui.run_line import duration, moment, number

if TYPE_CHECKING:
    from kladml_core.workspace.rows import RunRow

STAR = "★"


def cell(value: Value, row: RunRow) -> str:
    """The value of a run, a metric's with its step; empty where the run has none."""
    found = lookup(value)(row)
    if found is None or found == "":
        return ""
    if value.kind == "field":
        if value.name == "star":
            return STAR
        if value.name in TIMES:
            return moment(number_of(found))
        if value.name in SPANS:
            return duration(number_of(found))
        if isinstance(found, tuple):
            return ", ".join(found)
        return str(found)
    step = step_of(value, row)
    if step is not None and isinstance(found, float):
        return f"{number(found)} @{step}"
    return param_text(found)
