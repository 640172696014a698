"""What is written into the index: runs as they were read, places and datasets, and what is gone taken out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kladml_core.backends.sqlite_metadata import SqliteMetadata, stored
from kladml_core.backends.sqlite_schema import METRIC_COLUMNS, RUN_COLUMNS
from kladml_core.interfaces.metadata import DatasetRecord

if TYPE_CHECKING:
    from kladml_core.workspace.index_entry import Entry
    from kladml_core.workspace.plain_config import Param

_MARKS = ", ".join("?" * len(RUN_COLUMNS))
_PUT_RUN = f"INSERT OR REPLACE INTO runs ({', '.join(RUN_COLUMNS)}) VALUES ({_MARKS})"
_PUT_METRIC = f"INSERT INTO run_metrics (name, run, {', '.join(METRIC_COLUMNS)}) VALUES (?,?,?,?,?,?,?,?,?,?)"
_PUT_PARAM = "INSERT OR REPLACE INTO run_params (key, run, place, value) VALUES (?,?,?,?)"
_FORGET = (
    "DELETE FROM run_metrics WHERE run = ? AND name IN (SELECT id FROM names)",
    "DELETE FROM run_params WHERE run = ? AND key IN (SELECT id FROM names)",
    "DELETE FROM tags WHERE run = ?",
)
_LARGEST = 2**63
_ASKED = 500
_REMEMBERED = 50_000


class IndexWriter:
    """Writes into an index, and remembers the numbers that names and values have there.

    Args:
        metadata: the index.
    """

    def __init__(self, metadata: SqliteMetadata) -> None:
        self._metadata = metadata
        self._generation = -1
        self._names: dict[str, int] = {}
        self._params: dict[Param, tuple[int, int]] = {}

    def put(self, entries: Sequence[Entry]) -> None:
        """Writes runs in one transaction, in place of what was known of them.

        Raises:
            sqlite3.Error: see `SqliteMetadata.writing`.
        """
        self._transact(lambda connection: self._put(connection, entries))

    def remove(self, references: Iterable[str]) -> None:
        """Takes runs out.

        Raises:
            sqlite3.Error: see `SqliteMetadata.writing`.
        """
        gone = [(stored(reference),) for reference in references]

        def take_out(connection: sqlite3.Connection) -> None:
            ids = [row for key in gone for row in connection.execute("SELECT id FROM runs WHERE reference = ?", key)]
            for statement in (*_FORGET, "DELETE FROM runs WHERE id = ?"):
                connection.executemany(statement, ids)

        if gone:
            self._transact(take_out)

    def put_places(self, places: Iterable[tuple[str, str, str]]) -> None:
        """Writes all the projects, families and experiments there are; "" stands for the last names of those above.

        Raises:
            sqlite3.Error: see `SqliteMetadata.writing`.
        """
        rows = [tuple(map(stored, names)) for names in places]

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM places")
            connection.executemany("INSERT INTO places VALUES (?,?,?)", rows)

        self._transact(write)

    def put_datasets(self, datasets: Iterable[tuple[DatasetRecord, str]]) -> None:
        """Writes all the datasets there are, each with the stamp of its registration.

        Raises:
            sqlite3.Error: see `SqliteMetadata.writing`.
        """
        rows = [
            (
                stored(one.name), one.path, one.target, one.split, one.description, one.rows, one.fingerprint,
                one.problem, stamp,
            )
            for one, stamp in datasets
        ]  # fmt: skip

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM datasets")
            _many(connection, "INSERT INTO datasets VALUES (?,?,?,?,?,?,?,?,?)", rows)

        self._transact(write)

    def _transact(self, write: Callable[[sqlite3.Connection], None]) -> None:
        if self._generation != self._metadata.generation:
            self._generation = self._metadata.generation
            self._forget_numbers()
        try:
            with self._metadata.writing() as connection:
                write(connection)
        except BaseException:
            self._forget_numbers()  # those given in this transaction were not kept
            raise

    def _forget_numbers(self) -> None:
        self._names.clear()
        self._params.clear()

    def _put(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        keys = [stored(entry.reference) for entry in entries]
        known: dict[str | bytes, int] = {}
        for begin in range(0, len(keys), _ASKED):
            some = keys[begin : begin + _ASKED]
            sql = f"SELECT reference, id FROM runs WHERE reference IN ({', '.join('?' * len(some))})"
            known.update(connection.execute(sql, some))
        following = 1 + (connection.execute("SELECT max(id) FROM runs").fetchone()[0] or 0)
        for statement in _FORGET:
            connection.executemany(statement, [(number,) for number in known.values()])
        runs, metrics, params, tags = [], [], [], []
        for entry in entries:
            number = known.get(stored(entry.reference))
            if number is None:
                number, following = following, following + 1
            runs.append(_run_row(number, entry))
            for name, *figures in entry.metrics:
                metrics.append((self._names.get(name) or self._name(connection, name), number, *figures))
            for place, one in enumerate(entry.params):
                key, value = self._params.get(one) or self._param(connection, one)
                params.append((key, number, place, value))
            tags += [(number, place, tag) for place, tag in enumerate(entry.notes.tags)]
        _many(connection, _PUT_RUN, runs)
        # In the order in which they lie, so that each page is written once; a name comes once with a run.
        _many(connection, _PUT_METRIC, sorted(metrics))
        _many(connection, _PUT_PARAM, sorted(params))
        _many(connection, "INSERT INTO tags VALUES (?,?,?)", tags)

    def _name(self, connection: sqlite3.Connection, name: str) -> int:
        key = _clean(name)
        connection.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (key,))
        number: int = connection.execute("SELECT id FROM names WHERE name = ?", (key,)).fetchone()[0]
        self._names[name] = number
        return number

    def _param(self, connection: sqlite3.Connection, param: Param) -> tuple[int, int]:
        name, json, text, value = param
        sql = "INSERT OR IGNORE INTO param_values (json, text, number) VALUES (?,?,?)"
        connection.execute(sql, (json, _clean(text), value))
        number = connection.execute("SELECT id FROM param_values WHERE json = ?", (json,)).fetchone()[0]
        pair = self._names.get(name) or self._name(connection, name), number
        if len(self._params) > _REMEMBERED:
            self._params.clear()
        self._params[param] = pair
        return pair


def _run_row(number: int, entry: Entry) -> tuple[Any, ...]:
    status = entry.status
    project, family, experiment, name = entry.reference.split("/")
    digits = name.removeprefix("run_")
    return (
        number, stored(entry.reference), stored(project), stored(family), stored(experiment), stored(name),
        int(digits) if digits.isdecimal() and len(digits) < 18 else 0, entry.uid,
        status.status, status.word, status.live, status.stalled, status.silence, status.attempt, status.pid,
        status.host, status.phase,
        status.epoch, status.step, status.total_epochs, status.total_steps,
        status.created, status.started, status.ended, status.heartbeat, status.progress_at, status.earlier_seconds,
        None if status.live else status.total_seconds,
        status.exit_code, status.reason, status.damaged, status.last_checkpoint,
        entry.notes.note, entry.notes.star, entry.problem, entry.changed, entry.stamp,
    )  # fmt: skip


def _many(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    try:
        connection.executemany(statement, rows)
    except (UnicodeEncodeError, OverflowError):
        # What JSON can say and SQLite cannot. The rows before it are written already: all are written over.
        replacing = statement.replace("INSERT INTO", "INSERT OR REPLACE INTO")
        connection.executemany(replacing, [tuple(map(_clean, row)) for row in rows])


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return float(value) if abs(value) < 1 << 1000 else None
    return value
