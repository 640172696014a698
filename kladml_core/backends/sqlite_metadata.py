"""The index: what the files of a workspace say of its runs, in a SQLite file that can be thrown away at any time.

It is written by `kladml_core.workspace.index`, which keeps it in step with the disk; nothing lives in it alone. One
for each user and host, see `index_file`. To be asked with SQL (`query`) it has these tables and views; times are unix
seconds, NULL is unknown:

    runs      id, reference (project/family/experiment/run_0007), project, family, experiment, name, number, uid,
              status (one of runs.status.STATUSES), word (as it is shown: also stalled, silent), live (0 or 1: more is
              to come), stalled, silence, attempt, pid, host, phase, epoch, step, total_epochs, total_steps,
              created, started, ended, heartbeat, progress_at, earlier_seconds,
              seconds (of all attempts together; NULL of a live run, whose attempt goes on since `started`),
              exit_code, reason (why it ended or stands still), damaged, last_checkpoint,
              note, star (0 or 1), problem (which of its files cannot be read, and why; "" for none),
              changed (when its state was last written; 0 where there is none), stamp
    metrics   run (runs.id), name, last, last_step, min, min_step, max, max_step, count, non_finite
              a `last` that is NaN is NULL; min and max are NULL where no value was finite
    params    run, key (dotted), place (in the order of the config), text (see values.param_text),
              number (NULL where it is none), json (the value itself)
    tags      run, place, tag
    places    project, family, experiment; "" for the last ones of a project's and a family's own row
    datasets  name, path, target, split, description, rows, fingerprint, problem

`runs.id IN (SELECT run FROM metrics WHERE name = 'val/loss' AND last < 0.05)` reads the entries of that one metric;
so does `(SELECT last FROM metrics WHERE run = runs.id AND name = 'val/loss')` in an ORDER BY.

Names that are no UTF-8 (a folder's may be anything) are BLOBs; `told` makes text of them as Python writes file names.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kladml_core.backends.index_file import connect, discard, index_file
from kladml_core.backends.sqlite_schema import VERSION, create
from kladml_core.errors import UnusableError
from kladml_core.interfaces.metadata import DatasetRecord, MetadataInterface, MetricRecord, RunRecord


class SqliteMetadata(MetadataInterface):
    """The index of one workspace, as it stands in its file. All methods may be called from any thread.

    Args:
        workspace: its root; the nearest one around the current directory unless given.
        file: the database, made where it is missing; by default where `index_file` says.

    Raises:
        UnusableError: the database cannot be opened or made, or there is no workspace.
    """

    def __init__(self, workspace: Path | None = None, *, file: Path | None = None) -> None:
        if workspace is None:
            from kladml_core.workspace.choose import choose_workspace

            workspace = choose_workspace(None)
        self.workspace = workspace.resolve()
        self.file = file or index_file(self.workspace)
        self.lock = threading.RLock()
        """Held around several statements that belong together."""
        self._connection: sqlite3.Connection | None = connect(self.file, VERSION, create)
        self._inode = _inode(self.file)
        self.generation = 0
        """Rises when the file was thrown away and begun anew: what was remembered of its rows counts no more."""

    # Asking

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a SELECT gives.

        Raises:
            sqlite3.Error: the statement is wrong, or the file is damaged: `begin_anew` mends that.
        """
        with self.lock:
            return self._open().execute(sql, parameters).fetchall()

    def prepare(self, give: Callable[[sqlite3.Connection], None]) -> None:
        """Has `give` lend the open connection functions for use in `query`; `begin_anew` opens one without them."""
        with self.lock:
            give(self._open())

    def projects(self) -> list[str]:
        """Names of the projects."""
        return self._names("SELECT DISTINCT project FROM places")

    def families(self, project: str) -> list[str]:
        """Names of a project's families."""
        return self._names("SELECT DISTINCT family FROM places WHERE project = ? AND family != ''", project)

    def experiments(self, project: str, family: str) -> list[str]:
        """Names of a family's experiments."""
        sql = "SELECT experiment FROM places WHERE project = ? AND family = ? AND experiment != ''"
        return self._names(sql, project, family)

    def runs(self, prefix: str = "") -> list[str]:
        """References, by project, family and experiment, the newest first within each."""
        names = [stored(name) for name in prefix.split("/")] if prefix else []
        where = " AND ".join(f"{column} = ?" for column in ("project", "family", "experiment")[: len(names)])
        sql = f"SELECT reference, project, family, experiment, number, name FROM runs WHERE {where or 'true'}"
        found = [(*map(told, row[1:4]), -row[4], told(row[5]), told(row[0])) for row in self.query(sql, names)]
        return [row[-1] for row in sorted(found)]

    def run(self, reference: str) -> RunRecord:
        """What is known of one run.

        Raises:
            KeyError: there is no such run.
        """
        columns = "uid, status, created, started, ended, attempt, epoch, step, exit_code, reason"
        with self.lock:
            sql = f"SELECT id, note, star, problem, {columns} FROM runs WHERE reference = ?"
            found = self.query(sql, (stored(reference),))
            if not found:
                raise KeyError(reference)
            key, note, star, problem, *fields = found[0]
            return RunRecord(
                reference,
                **dict(zip(columns.split(", "), fields, strict=True)),
                metrics=self.metrics_of(key),
                params=self.params_of(key),
                tags=self.tags_of(key),
                note=note,
                star=bool(star),
                problem=problem,
            )

    def metrics_of(self, run: int) -> dict[str, MetricRecord]:
        """The metrics of the run with this id, by name."""
        return {row[0]: metric(row[1:]) for row in self.query(_METRICS, (run,))}

    def params_of(self, run: int) -> dict[str, Any]:
        """The parameters of the run with this id, in the order of its config."""
        return {key: json.loads(value) for key, value in self.query(_PARAMS, (run,))}

    def tags_of(self, run: int) -> tuple[str, ...]:
        """The tags of the run with this id, in their order."""
        return tuple(tag for (tag,) in self.query("SELECT tag FROM tags WHERE run = ? ORDER BY place", (run,)))

    def datasets(self) -> list[DatasetRecord]:
        """The registered datasets."""
        sql = "SELECT name, path, target, split, description, rows, fingerprint, problem FROM datasets"
        return sorted((DatasetRecord(told(row[0]), *row[1:]) for row in self.query(sql)), key=lambda one: one.name)

    # Keeping

    def refresh(self) -> None:
        """Brings the index into step with the workspace's files; the first time this reads every run.

        Raises:
            ConfigError: kladml.yaml is wrong.
            UnusableError: the file cannot hold what there is; its disk is full, say.
        """
        from kladml_core.workspace.index import Index
        from kladml_core.workspace.workspace import Workspace

        index = Index(Workspace.open(self.workspace), self)
        index.refresh()
        if index.fault:
            raise UnusableError(index.fault)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of this process; what fails in it changes nothing.

        Raises:
            sqlite3.Error: the file is damaged, or another process wrote for too long.
        """
        with self.lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def is_stale(self) -> bool:
        """Whether somebody threw the file away that is open here."""
        return _inode(self.file) != self._inode

    def begin_anew(self, *, discarding: bool = True) -> None:
        """Throws the file away, where `discarding`, and opens what is there then, or an empty one.

        Raises:
            UnusableError: it cannot be.
        """
        with self.lock:
            self.close()
            if discarding:
                discard(self.file)
            self._connection = connect(self.file, VERSION, create)
            self._inode = _inode(self.file)
            self.generation += 1

    def close(self) -> None:
        """Closes the file."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the index is closed")
        return self._connection

    def _names(self, sql: str, *names: str) -> list[str]:
        return sorted(told(row[0]) for row in self.query(sql, [stored(name) for name in names]))


# Entries lie by name: those of one run are found by asking for each name, of which there are few.
_METRICS = """
    SELECT n.name, m.last, m.last_step, m.min, m.min_step, m.max, m.max_step, m.count, m.non_finite
    FROM names n CROSS JOIN run_metrics m ON m.name = n.id AND m.run = ? ORDER BY n.name
"""
_PARAMS = """
    SELECT n.name, v.json FROM names n CROSS JOIN run_params m ON m.key = n.id AND m.run = ?
    JOIN param_values v ON v.id = m.value ORDER BY m.place
"""


def metric(row: Sequence[Any]) -> MetricRecord:
    """The figures of a row of `metrics`, from `last` on."""
    last = math.nan if row[0] is None else row[0]
    return MetricRecord(last, *row[1:])


def stored(name: str) -> str | bytes:
    """A name from the disk as the index keeps it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def told(name: str | bytes) -> str:
    """What `stored` was given."""
    return name if isinstance(name, str) else os.fsdecode(name)


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None
