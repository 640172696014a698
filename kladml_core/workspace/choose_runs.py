"""The runs of a workspace that a filter chooses, sorted: what the command `runs` lists and a program may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kladml_core.runs.queue_items import places
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.workspace.columns import needs_params
from kladml_core.workspace.filter_match import matcher
from kladml_core.workspace.filters import Filter
from kladml_core.workspace.rows import RunRow, run_row, with_params
from kladml_core.workspace.values import Value, sort_rows, value_named


def choose_runs(
    data: Path,
    chosen: Filter | None = None,
    *,
    sort: str = "",
    reverse: bool = False,
    columns: Sequence[str] = (),
) -> list[RunRow]:
    """The runs that a filter chooses.

    Args:
        data: the workspace's data directory.
        chosen: from `kladml_core.workspace.filters.parse`; None chooses all.
        sort: a value by which to sort, the least first and those without one last; empty is the newest first.
        reverse: the other way round; those without a value stay last.
        columns: what is to be shown of them: their parameters are read where something needs them.

    Raises:
        ConfigError: `sort` or a column is not understood.
    """
    wanted = chosen or Filter()
    by = value_named(sort) if sort else None
    asked = [*wanted.values, *([by] if by else []), *(value_named(name) for name in columns if name not in _LISTS)]
    waiting = places(data)
    rows = [run_row(RunDirectory(path)).at(waiting) for path in all_runs(data)]
    if needs_params(asked, columns):
        rows = [with_params(row) for row in rows]
    test = matcher(wanted)
    rows = [row for row in rows if test(row)]
    # The newest first is also what equal ones are told apart by.
    rows = sort_rows(rows, Value("field", "created"), reverse=True)
    if by is not None:
        return sort_rows(rows, by, reverse=reverse)
    return rows[::-1] if reverse else rows


_LISTS = frozenset({"params", "metrics"})
