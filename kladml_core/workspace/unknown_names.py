"""Metrics and parameters that are asked for and that no run has: most often a slip, which would look like no match."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from kladml_core.backends.sqlite_metadata import SqliteMetadata, told
from kladml_core.workspace.values import Kind, Value

_METRICS = "SELECT name FROM names WHERE EXISTS (SELECT 1 FROM run_metrics WHERE run_metrics.name = names.id)"
_PARAMS = "SELECT name FROM names WHERE EXISTS (SELECT 1 FROM run_params WHERE run_params.key = names.id)"


def unknown_names(index: SqliteMetadata, values: Iterable[Value]) -> list[str]:
    """What to say of each metric or parameter that no run has, with the nearest that there is; nothing of fields.

    Args:
        index: that was just refreshed.
        values: what a filter, an order and columns ask for.
    """
    asked = dict.fromkeys(value for value in values if value.kind != "field")
    if not asked:
        return []
    metrics = {told(name) for (name,) in index.query(_METRICS)}
    params = {told(name) for (name,) in index.query(_PARAMS)}
    if not metrics and not params:
        return []  # there is nothing yet that could have a name
    there: dict[Kind, set[str]] = {"metric": metrics, "param": params, "either": metrics | params}
    what: dict[Kind, str] = {"metric": "metric", "param": "parameter", "either": "metric or parameter"}
    found = []
    for value in asked:
        names = there[value.kind]
        if value.name not in names:
            close = get_close_matches(value.name, sorted(names), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            found.append(f"no run has a {what[value.kind]} {value.name!r}{hint}")
    return list(dict.fromkeys(found))
