"""The index's file: where it lies, and how it is opened, thrown away and made anew. It holds nothing of its own.

    $XDG_CACHE_HOME/kladml/<hash of the workspace's path and this host>/index.sqlite

SQLite's locks and its write-ahead log need a local disk. Where the cache directory is on a network file system, or
cannot be written, the index lies in a directory of the user's own in the machine's temporary directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kladml_core.backends.network_disks import network_file_system
from kladml_core.errors import UnusableError
from kladml_core.runs.processes import host_name
from kladml_core.user_folders import user_folder

NAME = "index.sqlite"
WAIT_SECONDS = 20.0
"""How long a connection waits for another process's transaction."""


def index_file(workspace: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where a workspace's index lies for this user on this host; its directory is made.

    Raises:
        UnusableError: it can lie nowhere.
    """
    digest = hashlib.sha256(os.fsencode(workspace.resolve()) + b"\0" + host_name().encode()).hexdigest()[:16]
    caches = user_folder("CACHE", environ)
    folder = caches / digest
    if _usable(folder) and network_file_system(folder) is None:
        return folder / NAME
    own = Path(tempfile.gettempdir()) / f"kladml-{os.getuid()}"
    folder = own / digest
    if _usable(folder) and _is_mine(own):
        return folder / NAME
    raise UnusableError(
        f"the index can lie neither in {caches} nor in {own}", hint="Set XDG_CACHE_HOME to a folder you may write"
    )


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _is_mine(folder: Path) -> bool:
    """Whether nobody else can put something else in the place of what lies in a directory among everybody's."""
    seen = folder.lstat()
    return seen.st_uid == os.getuid() and not folder.is_symlink() and not seen.st_mode & 0o022


def connect(file: Path, version: int, create: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Opens the index; one that is damaged, or of another version, is thrown away and begun anew.

    Args:
        version: of the schema; kept in the file.
        create: makes the schema in an empty database.

    Raises:
        UnusableError: it cannot be opened or made.
    """
    try:
        with _opening(file):
            connection = _open(file, version)
            if connection is None:
                discard(file)
                connection = _connection(file)
                connection.execute("BEGIN IMMEDIATE")
                create(connection)
                connection.execute(f"PRAGMA user_version = {version}")
                connection.execute("COMMIT")
            return connection
    except (OSError, sqlite3.Error) as error:
        raise UnusableError(f"the index cannot be opened: {error}", file=str(file)) from error


def _open(file: Path, version: int) -> sqlite3.Connection | None:
    if not file.exists():
        return None
    connection = None
    try:
        connection = _connection(file)
        if connection.execute("PRAGMA user_version").fetchone()[0] == version:
            # A file that was cut short says so when it is read from, not when it is opened.
            pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] and pages * size > 0:
                return connection
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise
    if connection is not None:
        connection.close()
    return None


def _connection(file: Path) -> sqlite3.Connection:
    # Used by one thread at a time, but not always by the same.
    connection = sqlite3.connect(file, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may take the last transactions, never the file: they are read from the disk again.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 8000")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def discard(file: Path) -> None:
    """Throws the index away; who has it open notices by the file's inode.

    Raises:
        OSError: it cannot be removed.
    """
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)


@contextmanager
def _opening(file: Path) -> Iterator[None]:
    """Keeps two processes from throwing away what the other has just made."""
    descriptor = os.open(file.with_name("open.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
