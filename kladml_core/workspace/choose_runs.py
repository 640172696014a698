"""The runs of a workspace that a filter chooses, sorted: what the command `runs` lists and a program may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.runs.queue_items import places
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings
from kladml_core.workspace.columns import needs_params
from kladml_core.workspace.filter_match import matcher
from kladml_core.workspace.filters import Filter
from kladml_core.workspace.index import Index
from kladml_core.workspace.index_rows import Wanted, read_rows, wanted_for
from kladml_core.workspace.places import left_out
from kladml_core.workspace.places_scan import PlacesScan
from kladml_core.workspace.rows import RunRow, run_row, with_params
from kladml_core.workspace.values import Value, sort_rows, value_named
from kladml_core.workspace.workspace import Workspace


@dataclass(frozen=True)
class ChosenRuns:
    """The runs that a filter chose."""

    rows: list[RunRow]
    archived: int = 0
    """How many more match, and were left out because they lie in an archived project, family or experiment."""


def choose_runs(
    data: Path,
    chosen: Filter | None = None,
    *,
    archived: bool = False,
    sort: str = "",
    reverse: bool = False,
    columns: Sequence[str] = (),
    index: SqliteMetadata | None = None,
    whole: int | None = None,
) -> ChosenRuns:
    """The runs that a filter chooses.

    Args:
        data: the workspace's data directory.
        chosen: from `kladml_core.workspace.filters.parse`; None chooses all.
        archived: those of archived projects, families and experiments too; without it only where a run lives.
        sort: a value by which to sort, the least first and those without one last; empty is the newest first.
        reverse: the other way round; those without a value stay last.
        columns: what is to be shown of them: their parameters are read where something needs them.
        index: has them read from an index that was just refreshed, instead of from each run's files.
        whole: with an index, how many of the first are to hold all of their metrics; None is all of them.

    Raises:
        ConfigError: `sort` or a column is not understood.
    """
    wanted = chosen or Filter()
    by = value_named(sort) if sort else None
    asked = [*wanted.values, *([by] if by else []), *(value_named(name) for name in columns if name not in _LISTS)]
    waiting = places(data)
    if index is None:
        names = PlacesScan(data).look().references
        rows = [run_row(RunDirectory(data / "projects" / name)).at(waiting) for name in names]
        if needs_params(asked, columns):
            rows = [with_params(row) for row in rows]
    else:
        needed = wanted_for(asked, columns)
        rows = [_now(row, needed).at(waiting) for row in read_rows(index, data, wanted=needed).values()]
    test = matcher(wanted)
    live = [row.reference for row in rows if row.status.live]
    rows = matching = [row for row in rows if test(row)]
    if not archived:
        hidden = left_out(data, live)
        rows = [row for row in matching if not hidden(row.reference)]
    more = len(matching) - len(rows)
    # The newest first is also what equal ones are told apart by.
    rows = sort_rows(rows, Value("field", "created"), reverse=True)
    if by is not None:
        rows = sort_rows(rows, by, reverse=reverse)
    elif reverse:
        rows = rows[::-1]
    if index is None:
        return ChosenRuns(rows, more)
    params = frozenset[str]() if not needs_params(asked, columns) else None
    first = [row.reference for row in rows[:whole] if not _changes(row)]
    full = read_rows(index, data, first, Wanted(params=params))
    return ChosenRuns([replace(full.get(row.reference, row), place=row.place) for row in rows], more)


def fresh_index(settings: Settings) -> SqliteMetadata | None:
    """The workspace's index, brought into step with its files; None where it cannot be kept."""
    index = Index(Workspace(settings.root, settings))
    index.refresh()
    return None if index.fault else index.metadata


def _changes(row: RunRow) -> bool:
    return row.status.live or row.status.status == "lost"


def _now(row: RunRow, wanted: Wanted) -> RunRow:
    """The row, of a live run as its files are now; who finds a run dead writes that down for others."""
    if not _changes(row):
        return row
    now = run_row(row.run)
    return with_params(now) if wanted.params is None or wanted.params else now


_LISTS = frozenset({"params", "metrics"})
