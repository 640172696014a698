"""Keeps the index in step with the disk: reads the runs that are new, live or changed, and forgets those that are gone.

A run is looked at again when the time stamps of its directory, its state or its notes change; live ones each time.
Everything works without the file too: what is known is kept in memory, and a file that cannot be written is told as
`fault`. Nothing here runs on a screen's thread; a long look breathes, tells how far it is, and can be given up.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from kladml_core.backends.sqlite_metadata import SqliteMetadata, told
from kladml_core.backends.sqlite_writing import IndexWriter
from kladml_core.errors import KladMLError, UnusableError
from kladml_core.interfaces.metadata import DatasetRecord
from kladml_core.runs.status import RunStatus
from kladml_core.workspace.datasets import read_dataset
from kladml_core.workspace.index_entry import Entry, read_entry, stamp_of
from kladml_core.workspace.places_scan import PlacesScan, Tree
from kladml_core.workspace.run_state import RunState
from kladml_core.workspace.workspace import Workspace

_SLICE = 200
"""Runs in one transaction."""
_BREATH_EVERY = 20
_BREATH_SECONDS = 0.001
"""Between slices of reading, so that a screen in this process gets the interpreter."""

_TAKE_OVER_SECONDS = 5.0
"""Between two readings of what other processes have written, once every run is known."""

_OWED_SECONDS = 10.0
"""Until what could not be written is read again for the file: on a full disk that may be every run there is."""

Progress = Callable[[int, int], None]
"""Told how many runs of how many are read."""


class Index:
    """One workspace's index. Used by one thread at a time.

    Args:
        workspace: what it tells of.
        metadata: where it is kept; opened where `index_file` says unless given.
        breathe: let other threads of this process have the interpreter during a long look.
    """

    def __init__(self, workspace: Workspace, metadata: SqliteMetadata | None = None, *, breathe: bool = False) -> None:
        self._workspace = workspace
        self._breathe = breathe
        self._scan = PlacesScan(workspace.data)
        self._projects = f"{workspace.data}/projects"
        self._live: dict[str, RunStatus] = {}
        self._places: object = None
        self._datasets: object = None
        self._taken_over: tuple[int, int] | None = None
        self._take_over_at = 0.0
        self._owed: set[str] = set()
        self._pay_at = 0.0
        self._gone: set[str] = set()
        self._checked = 0
        self._swept: Tree | None = None
        self.seen: dict[str, RunState] = {}
        """By reference; a run that was not read yet is missing."""
        self.changes = 0
        """Rises whenever `seen` says something else."""
        self.closed = False
        """Set from outside: a look that is going on gives up."""
        self.fault = ""
        """Why the file is not kept; what is in memory is right all the same."""
        self.metadata: SqliteMetadata | None = metadata
        if metadata is None:
            try:
                self.metadata = SqliteMetadata(workspace.root)
            except UnusableError as error:
                self.fault = str(error)
        self._writer = IndexWriter(self.metadata) if self.metadata is not None else None

    def tree(self) -> Tree:
        """The names there are on the disk now; and what the index knew of them before, at the first time."""
        tree = self._scan.look()
        self._catch_up(tree)
        return tree

    def missing(self, tree: Tree) -> int:
        """How many runs are yet to be read."""
        return sum(1 for reference in tree.references if reference not in self.seen)

    def refresh(self, progress: Progress | None = None) -> Tree:
        """Looks at everything."""
        tree = self.tree()
        self.look(tree, progress=progress)
        if self.missing(tree) and not self.closed:
            self.look(tree, progress=progress)  # a damaged file was thrown away half-way
        self.refresh_datasets()
        return tree

    def look(
        self,
        tree: Tree,
        *,
        everything: bool = True,
        new: bool = True,
        also: Iterable[str] = (),
        seconds: float = math.inf,
        progress: Progress | None = None,
    ) -> bool:
        """Brings what is known of the runs up to date: of those that are live in any case.

        Args:
            tree: the names, from `tree`.
            everything: look at the others too, whether one has changed.
            new: read the runs that are not known yet.
            also: references of further runs to look at, known or not.
            seconds: after so long, looking at everything stops; the next time goes on from there.
            progress: called now and then while unknown runs are read.

        Returns:
            Whether all that was asked for is done.
        """
        self._forget(tree)
        if tree.places() != self._places and self._keep(lambda writer: writer.put_places(tree.places())):
            self._places = tree.places()
        references = tree.references
        wanted = {*self._owed, *also} if self._is_owed_due() else set(also)
        if new and len(self.seen) < len(references):
            first = [one for one in references if one in wanted or self._is_due(one)]
        else:
            first = [one for one in references if one in wanted or self._is_live(one)]
        self._read(first, progress)
        return self._check(references, time.monotonic() + seconds) if everything else not self.closed

    def _is_owed_due(self) -> bool:
        return time.monotonic() >= self._pay_at

    def _is_live(self, reference: str) -> bool:
        known = self.seen.get(reference)
        return known is not None and known.live

    def _is_due(self, reference: str) -> bool:
        known = self.seen.get(reference)
        return known is None or known.live

    def _read(self, references: Sequence[str], progress: Progress | None) -> None:
        for begin in range(0, len(references), _SLICE):
            self._read_slice(references[begin : begin + _SLICE])
            if self.closed:
                return
            if progress is not None:
                progress(min(begin + _SLICE, len(references)), len(references))

    def _read_slice(self, references: Sequence[str]) -> None:
        entries = []
        for reference in references:
            known, path = self.seen.get(reference), f"{self._projects}/{reference}"
            owed = reference in self._owed and self._is_owed_due()
            unchanged = known is not None and not known.live and not owed
            if unchanged and known is not None and stamp_of(path) == known.stamp:
                continue
            entries.append(read_entry(path, reference))
            if self._breathe and len(entries) % _BREATH_EVERY == 0:
                time.sleep(_BREATH_SECONDS)
            if self.closed:
                return
        self._take(entries)

    def _check(self, references: Sequence[str], deadline: float) -> bool:
        """Looks whether runs have changed, from where the last look stopped."""
        if self._checked >= len(references):
            self._checked = 0
        while self._checked < len(references):
            begin, self._checked = self._checked, self._checked + _SLICE
            known = [one for one in references[begin : self._checked] if one in self.seen and not self._is_live(one)]
            self._read_slice(known)
            if self.closed or time.monotonic() > deadline:
                break
            if self._breathe:
                time.sleep(_BREATH_SECONDS)
        return self._checked >= len(references)

    def refresh_datasets(self) -> None:
        """Brings what is known of the registered datasets up to date."""
        found = []
        for path in self._workspace.datasets():
            try:
                seen = path.stat()
            except OSError:
                continue
            found.append((path, f"{seen.st_mtime_ns}.{seen.st_size}.{seen.st_ino}"))
        datasets = [(_dataset(path), stamp) for path, stamp in found] if found != self._datasets else []
        if found != self._datasets and self._keep(lambda writer: writer.put_datasets(datasets)):
            self._datasets = found

    def close(self) -> None:
        """Gives up a look that is going on, and closes the file."""
        self.closed = True
        if self.metadata is not None:
            self.metadata.close()

    # What is known

    def _take(self, entries: list[Entry]) -> None:
        changed = []
        for entry in entries:
            reference, status = entry.reference, entry.status
            before = self.seen.get(reference)
            seen = _state(status.status, status.word, status.live, entry.changed, entry.stamp)
            if seen != before:
                self.seen[reference] = seen
                self.changes += 1
            if seen != before or reference in self._owed or self._live.get(reference, status) != status:
                changed.append(entry)
            self._live.pop(reference, None)
            if status.live:
                self._live[reference] = status
        if changed:
            names = {entry.reference for entry in changed}
            self._owed |= names
            if self._keep(lambda writer: writer.put(changed)):
                self._owed -= names
                self._settle()

    def _forget(self, tree: Tree) -> None:
        if tree is self._swept and len(self.seen) <= len(tree.references) and not self._gone:
            return
        there = set(tree.references)
        self._gone.update(reference for reference in self.seen if reference not in there)
        self._gone -= there
        for reference in self._gone & self.seen.keys():
            del self.seen[reference]
            self._live.pop(reference, None)
            self.changes += 1
        self._owed &= there
        if not self._gone or self._keep(lambda writer: writer.remove(self._gone)):
            self._gone = set()
            self._swept = tree
            self._settle()

    # The file

    def _catch_up(self, tree: Tree) -> None:
        """Takes over what the file knows, where somebody else has written to it or this is the first look."""
        metadata = self.metadata
        if metadata is None:
            return
        try:
            if metadata.is_stale():
                metadata.begin_anew(discarding=False)
            now = (metadata.generation, metadata.query("PRAGMA data_version")[0][0])
            same_file = self._taken_over is not None and self._taken_over[0] == now[0]
            # Another app writes of live runs each second: those are looked at here as well.
            complete = same_file and len(self.seen) >= len(tree.references)
            if now == self._taken_over or (complete and time.monotonic() < self._take_over_at):
                return
            rows = metadata.query("SELECT reference, status, word, live, changed, stamp FROM runs")
        except (sqlite3.Error, UnusableError) as error:
            self._mend(error)
            return
        if not same_file:
            self._places = self._datasets = None  # they may be others than those that were written
        self._taken_over, self._take_over_at = now, time.monotonic() + _TAKE_OVER_SECONDS
        before, found = self.seen, dict[str, RunState]()
        for reference, status, word, live, changed, stamp in rows:
            name = told(reference)
            known = before.get(name)
            if known is None or known.stamp != stamp or known.word != word or known.status != status:
                known = _state(status, word, bool(live), changed, stamp)
            found[name] = known
        self.seen, self._swept = found, None
        self.changes += 1

    def _keep(self, write: Callable[[IndexWriter], None]) -> bool:
        """Writes to the file; False where it could not be, which is told as `fault` until it holds everything."""
        if self._writer is None:
            return False
        try:
            write(self._writer)
        except (sqlite3.Error, UnusableError) as error:
            self._pay_at = time.monotonic() + _OWED_SECONDS
            self._mend(error)
            return False
        self._settle()
        return True

    def _settle(self) -> None:
        """A fault is over when the file is owed nothing: that one slice could be written says little."""
        if self.metadata is not None and not self._owed and not self._gone:
            self.fault = ""

    def _mend(self, error: Exception) -> None:
        """Throws a damaged file away, which is filled again by the next look; of other faults memory makes up."""
        self.fault = f"the index is not kept: {error}"
        # A file that is no database, or has not our tables; a full disk or a busy one is another thing.
        damaged = type(error) is sqlite3.DatabaseError or "no such" in str(error)
        if self.metadata is None or not damaged:
            return
        try:
            self.metadata.begin_anew()
        except (OSError, UnusableError) as again:
            self.fault = f"the index is not kept: {again}"
            return
        self.seen, self._live, self._owed, self._gone = {}, {}, set(), set()
        self._places = self._datasets = self._swept = None
        self.changes += 1


def _state(status: str, word: str, live: bool, changed: float, stamp: str) -> RunState:
    return RunState(status, changed, live, word if word != status else "", None, stamp)


def _dataset(path: Path) -> DatasetRecord:
    try:
        one = read_dataset(path)
    except KladMLError as error:
        return DatasetRecord(path.stem, problem=str(error))
    return DatasetRecord(path.stem, one.path, one.target, one.split, one.description, one.rows, one.fingerprint)
