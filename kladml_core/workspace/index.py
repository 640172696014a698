"""Keeps the index in step with the disk: reads the runs that are new, live or changed, and forgets those that are gone.

A run is looked at again when the time stamps of its directory, its state or its notes change; live ones each time.
Everything works without the file too: what is known is kept in memory, and a file that cannot be written is told as
`fault`. Nothing here runs on a screen's thread; a long look breathes, tells how far it is, and can be given up.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kladml_core.backends.sqlite_metadata import SqliteMetadata, told
from kladml_core.backends.sqlite_writing import IndexWriter
from kladml_core.errors import KladMLError, UnusableError
from kladml_core.interfaces.metadata import DatasetRecord
from kladml_core.runs.status import RunStatus
from kladml_core.workspace.datasets import read_dataset
from kladml_core.workspace.index_entry import Entry, read_entry, stamp_of
from kladml_core.workspace.places_scan import PlacesScan, Tree
from kladml_core.workspace.workspace import Workspace

_SLICE = 200
"""Runs in one transaction."""
_BREATH_EVERY = 20
_BREATH_SECONDS = 0.002
"""Between slices of reading, so that a screen in this process gets the interpreter."""

Progress = Callable[[int, int], None]
"""Told how many runs of how many are read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept in memory of a run."""

    status: str
    word: str
    live: bool
    changed: float
    """When its state was last written, unix seconds; 0 where there is none."""
    stamp: str


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
        self._seen_data: tuple[int, int] | None = None
        self.seen: dict[str, Seen] = {}
        """By reference; a run that was not read yet is missing."""
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
        self._catch_up()
        return tree

    def missing(self, tree: Tree) -> int:
        """How many runs are yet to be read."""
        seen = self.seen
        return sum(1 for reference in tree.references() if reference not in seen)

    def refresh(self, progress: Progress | None = None) -> Tree:
        """Looks at everything."""
        tree = self.tree()
        self.look(tree, progress=progress)
        self._put_datasets()
        return tree

    def look(
        self,
        tree: Tree,
        *,
        everything: bool = True,
        new: bool = True,
        also: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> None:
        """Brings what is known of the runs up to date.

        Args:
            tree: the names, from `tree`.
            everything: look whether any run has changed; otherwise only live ones are looked at.
            new: read the runs that are not known yet.
            also: references of further runs to look at, known or not.
            progress: called now and then.
        """
        references = tree.references()
        there = set(references)
        self._forget([reference for reference in self.seen if reference not in there])
        if tree.places() != self._places:
            self._keep(lambda writer: writer.put_places(tree.places()))
            self._places = tree.places()
        wanted = there.intersection(also)
        batch: list[Entry] = []
        for count, reference in enumerate(references, 1):
            known = self.seen.get(reference)
            if known is None:
                if not new and reference not in wanted:
                    continue
            elif not known.live:
                if not everything and reference not in wanted:
                    continue
                if self._breathe and count % (_BREATH_EVERY * 10) == 0:
                    time.sleep(_BREATH_SECONDS)
                if stamp_of(f"{self._projects}/{reference}") == known.stamp:
                    continue
            if self.closed:
                return
            batch.append(read_entry(f"{self._projects}/{reference}", reference))
            if self._breathe and len(batch) % _BREATH_EVERY == 0:
                time.sleep(_BREATH_SECONDS)
            if len(batch) == _SLICE:
                self._take(batch)
                batch = []
                if progress is not None:
                    progress(count, len(references))
        self._take(batch)
        if progress is not None:
            progress(len(references), len(references))

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
            if before is None or before.stamp != entry.stamp or self._live.get(reference, status) != status:
                changed.append(entry)
            self._live.pop(reference, None)
            if status.live:
                self._live[reference] = status
            seen = Seen(status.status, status.word, status.live, entry.changed, entry.stamp)
            if seen != before:
                self.seen[reference] = seen
                if before is not None and before.word != seen.word and entry not in changed:
                    changed.append(entry)
        if changed:
            self._keep(lambda writer: writer.put(changed))

    def _forget(self, references: list[str]) -> None:
        for reference in references:
            del self.seen[reference]
            self._live.pop(reference, None)
        if references:
            self._keep(lambda writer: writer.remove(references))

    # The file

    def _catch_up(self) -> None:
        """Takes over what the file knows, where somebody else has written to it or this is the first look."""
        metadata = self.metadata
        if metadata is None:
            return
        try:
            if metadata.is_stale():
                metadata.begin_anew(discarding=False)
            now = (metadata.generation, metadata.query("PRAGMA data_version")[0][0])
            if now == self._seen_data:
                return
            rows = metadata.query("SELECT reference, status, word, live, changed, stamp FROM runs")
            self._seen_data = now
        except (sqlite3.Error, UnusableError) as error:
            self._mend(error)
            return
        found: dict[str, Seen] = {}
        for reference, status, word, live, changed, stamp in rows:
            name, seen = told(reference), Seen(status, word, bool(live), changed, stamp)
            before = self.seen.get(name)
            found[name] = before if before == seen and before is not None else seen
        self.seen = found
        self._places = None

    def _keep(self, write: Callable[[IndexWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
            self.fault = ""
        except (sqlite3.Error, UnusableError) as error:
            self._mend(error)

    def _mend(self, error: Exception) -> None:
        """A damaged file is thrown away and filled again from what is read; where that fails, memory has to do."""
        metadata = self.metadata
        busy = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        self.fault = f"the index is not kept: {error}"
        if metadata is None or busy or not isinstance(error, sqlite3.DatabaseError):
            return
        try:
            metadata.begin_anew()
        except (OSError, UnusableError) as again:
            self.fault = f"the index is not kept: {again}"
            return
        # What is known has to be written once more: the next look reads it again.
        self.seen, self._live, self._places, self._datasets = {}, {}, None, None

    def _put_datasets(self) -> None:
        found = []
        for path in self._workspace.datasets():
            try:
                seen = path.stat()
            except OSError:
                continue
            found.append((path, f"{seen.st_mtime_ns}.{seen.st_size}.{seen.st_ino}"))
        if found != self._datasets:
            self._datasets = found
            self._keep(lambda writer: writer.put_datasets([(_dataset(path), stamp) for path, stamp in found]))


def _dataset(path: Path) -> DatasetRecord:
    try:
        one = read_dataset(path)
    except KladMLError as error:
        return DatasetRecord(path.stem, problem=str(error))
    return DatasetRecord(path.stem, one.path, one.target, one.split, one.description, one.rows, one.fingerprint)
