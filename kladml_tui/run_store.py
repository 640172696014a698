"""What is known of the runs for filtering and sorting them, out of the index: in threads, each anew when it changed."""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.errors import UnusableError
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus
from kladml_core.settings import Settings
from kladml_core.workspace.columns import METRICS, PARAMS, columns_of, needs_params
from kladml_core.workspace.filter_match import matcher
from kladml_core.workspace.filters import Filter, Not, Status, Text
from kladml_core.workspace.index_rows import EVERYTHING, Wanted, read_rows, wanted_for
from kladml_core.workspace.rows import RunRow, run_row, with_params
from kladml_core.workspace.unknown_names import unknown_names
from kladml_core.workspace.values import Value, sort_rows, value_named
from kladml_core.workspace.views import View
from kladml_tui.look import RunState

_Answer = TypeVar("_Answer")
_BY_NAME = frozenset({"name", "project", "family", "experiment"})
_PAUSE_EVERY = 50
_PAUSE_SECONDS = 0.002
_MANY = 200
"""A breath now and then, so that reading very many runs does not take the processor from the screen."""


@dataclass(frozen=True)
class Choice:
    """What filter, sort and columns make of some runs."""

    order: tuple[str, ...]
    """References of the runs to show, from the top."""
    values: tuple[Value, ...] = ()
    """What the columns show; empty for the usual ones."""
    filter: str = ""
    sort: str = ""
    reverse: bool = False
    missing: int = 0
    """Runs whose files are yet to be read."""
    unknown: tuple[str, ...] = ()
    """Of a filter that no run matches, what is said of the names in it that no run has."""

    @property
    def told(self) -> bool:
        """Whether there is something to say of it above the list."""
        return bool(self.filter or self.sort or self.missing)


class RunStore:
    """The rows of runs by reference, kept as they were read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._projects = settings.data / "projects"
        self._metadata: SqliteMetadata | None = None
        self._indexed: dict[str, RunRow] = {}
        self._at: dict[str, RunState] = {}
        self._wanted: Wanted | None = None
        self.has_index = True
        """Whether there is an index to ask; otherwise `read` has to make up for it."""
        self._rows: dict[str, RunRow] = {}
        self._stamps: dict[str, tuple[float, int]] = {}
        self._whole: set[str] = set()

    def catch_up(self, references: Sequence[str], states: Mapping[str, RunState], wanted: Wanted) -> list[str]:
        """Takes over what the index knows of runs that are new or have changed since the last time.

        Args:
            references: of all runs that may be shown.
            states: the state of each; another one says that the run has changed.
            wanted: which metrics and parameters are asked for.

        Returns:
            the runs of which nothing is known yet.
        """
        wanted = self._known_of(wanted)
        if self._wanted is None or self._wanted.with_all_of(wanted) != self._wanted:
            # What was asked for stays: a letter more, or the last filter again, reads nothing anew.
            self._wanted = wanted if self._wanted is None else self._wanted.with_all_of(wanted)
            self._indexed, self._at = {}, {}
        due = [one for one in references if one in states and self._at.get(one) is not states[one]]
        due = [one for one in due if self._at.get(one) != states[one]]
        self._indexed.update(rows := self._ask(due, self._wanted))
        self._at.update((one, states[one]) for one in rows)
        return [one for one in references if one not in self._indexed]

    def whole(self, references: Sequence[str], states: Mapping[str, RunState]) -> list[RunRow]:
        """Everything of some runs, in their order: for an export."""
        settled = [one for one in references if one in states and not states[one].live]
        rows = self._ask(settled, EVERYTHING)
        self.read([one for one in references if one not in rows], states, params=True)
        return [row for one in references if (row := rows.get(one) or self._rows.get(one)) is not None]

    def _known_of(self, wanted: Wanted) -> Wanted:
        """Without the names that no run has, such as those that are not typed to their end."""
        return self._of_index(
            lambda index: wanted.only(frozenset(name for (name,) in index.query("SELECT name FROM names"))), wanted
        )

    def _ask(self, references: Sequence[str], wanted: Wanted) -> dict[str, RunRow]:
        if not references:
            return {}
        # Rows stay, and are no garbage: to go through all of them again and again would stop the screen.
        many = len(references) >= _MANY and gc.isenabled()
        try:
            if many:
                gc.disable()
            return self._of_index(lambda index: read_rows(index, self._settings.data, references, wanted), {})
        finally:
            if many:
                gc.freeze()
                gc.enable()

    def _of_index(self, ask: Callable[[SqliteMetadata], _Answer], otherwise: _Answer) -> _Answer:
        """What the index answers. Who keeps it tells what is the matter with it; the files say the same, slowly."""
        if not self.has_index:
            return otherwise
        try:
            if self._metadata is None:
                self._metadata = SqliteMetadata(self._settings.root)
            elif self._metadata.is_stale():
                self._metadata.begin_anew(discarding=False)
            return ask(self._metadata)
        except (UnusableError, sqlite3.Error):
            self.has_index, self._metadata = False, None
            return otherwise

    def read(self, references: Iterable[str], states: Mapping[str, RunState], *, params: bool) -> list[RunRow]:
        """Reads runs anew."""
        found = []
        for count, reference in enumerate(references, 1):
            run = RunDirectory(self._projects / reference)
            stamp = self._stamp(reference, states)
            row = run_row(run)
            if params:
                before = self._rows.get(reference)
                # A config changes with an attempt; until then it need not be read again.
                same = before is not None and reference in self._whole and before.status.attempt == row.status.attempt
                row = replace(row, params=before.params) if same and before is not None else with_params(row)
                self._whole.add(reference)
            else:
                self._whole.discard(reference)
            self._rows[reference] = row
            self._stamps[reference] = stamp
            found.append(row)
            if count % _PAUSE_EVERY == 0:
                time.sleep(_PAUSE_SECONDS)
        if len(found) >= _MANY:
            # Rows stay; going through all of them again and again for garbage would stop the screen.
            gc.freeze()
        return found

    def stale(self, references: Sequence[str], states: Mapping[str, RunState], *, params: bool) -> list[str]:
        """The runs that are to be read: not known yet, live, or changed since, notes included."""
        return [
            reference
            for reference in references
            if reference not in self._rows
            or (params and reference not in self._whole)
            or ((state := states.get(reference)) is not None and state.live)
            or self._stamps[reference] != self._stamp(reference, states)
        ]

    def choose(
        self,
        references: Sequence[str],
        states: Mapping[str, RunState],
        view: View,
        wanted: Filter,
        *,
        missing: int = 0,
    ) -> Choice:
        """Filters and sorts runs by what is known of them.

        Args:
            references: all runs, in the order that those without a difference keep.
            states: the state of each, which is all that is known of one that was not read.
            wanted: the view's filter, parsed.
            missing: how many are yet to be read.
        """
        rows: Sequence[RunRow] = [
            self._indexed.get(one) or self._rows.get(one) or self._light(one, states) for one in references
        ]
        if wanted:
            test = matcher(wanted)
            rows = [row for row in rows if test(row)]
        if view.sort:
            rows = sort_rows(rows, value_named(view.sort), reverse=view.reverse)
        elif view.reverse:
            rows = rows[::-1]
        return Choice(
            tuple(row.reference for row in rows),
            columns_of(view.columns, rows),
            view.filter,
            view.sort,
            view.reverse,
            missing,
            () if rows or missing or not wanted else self._unknown(wanted),
        )

    def _unknown(self, wanted: Filter) -> tuple[str, ...]:
        return self._of_index(lambda index: tuple(unknown_names(index, wanted.values)), ())

    def rows(self, references: Iterable[str]) -> list[RunRow]:
        """What is known of some runs, of those that were read."""
        return [row for reference in references if (row := self._rows.get(reference)) is not None]

    def _light(self, reference: str, states: Mapping[str, RunState]) -> RunRow:
        state = states.get(reference)
        status = RunStatus(state.status, stalled=state.standstill == "stalled") if state else RunStatus("")
        return RunRow(reference, RunDirectory(self._projects / reference), status)

    def _stamp(self, reference: str, states: Mapping[str, RunState]) -> tuple[float, int]:
        try:
            notes = os.stat(self._projects / reference / "notes.yaml").st_mtime_ns
        except OSError:
            notes = 0
        state = states.get(reference)
        return (state.changed if state is not None else 0.0), notes


def needs_files(view: View, wanted: Filter) -> bool:
    """Whether a view asks for more than references and states."""
    if view.sort and value_named(view.sort) not in (Value("field", "name"), Value("field", "status")):
        return True
    if PARAMS in view.columns or METRICS in view.columns:
        return True
    terms = (term.term if isinstance(term, Not) else term for term in wanted.terms)
    return any(not (isinstance(term, Status) or (isinstance(term, Text) and term.field in _BY_NAME)) for term in terms)


def asked_for(view: View, wanted: Filter) -> Wanted:
    """Which metrics and parameters a view needs of the runs that it may show."""
    return wanted_for(_values(view, wanted), view.columns)


def asks_params(view: View, wanted: Filter) -> bool:
    """Whether a view asks for parameters of runs."""
    return needs_params(_values(view, wanted), view.columns)


def _values(view: View, wanted: Filter) -> list[Value]:
    named = [value_named(name) for name in view.columns if name not in (PARAMS, METRICS)]
    by = [value_named(view.sort)] if view.sort else []
    return [*wanted.values, *by, *named]
