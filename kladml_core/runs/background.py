"""Work that goes on with every screen closed: at most one process of a kind per workspace, host and user.

Such a process holds an flock on a file of its own in the machine's temporary directory: the system gives the lock back
when the process dies, however it dies, and no lock is ever held on a network file system. Who holds it, by pid and
start time, is written to `<data>/.background/<host>/<kind>.json` for whoever wants to know.

The protocol that loses no work: whoever has work writes it down first and calls `ensure` then; the process looks for
work once more after it has called `Hold.release`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.process_tree import MARK
from kladml_core.runs.processes import host_name, identity, is_alive, send_signal

START_SECONDS = 20.0
END_SECONDS = 5.0
_LOOK_SECONDS = 0.02
LOG_BYTES = 1 << 20
"""A log that is larger when a process starts is put aside as `<kind>.log.1`, in place of the one before."""


class Hold:
    """This process's right to be the only one of its kind, until it is released or the process ends."""

    def __init__(self, descriptor: int, lock: Path, record: Path) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._record = record

    def holds(self) -> bool:
        """Whether the lock file is still the one that is locked: something may have cleaned the temporary directory."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._lock))
        except OSError:
            return False

    def release(self) -> None:
        """Lets the next one begin; afterwards the caller looks for work once more."""
        if (read_object(self._record) or {}).get("pid") == os.getpid():
            self._record.unlink(missing_ok=True)
        os.close(self._descriptor)


def hold(data: Path, kind: str) -> Hold | None:
    """Takes the right to be the workspace's only process of a kind on this host; None when another one has it.

    Args:
        data: the workspace's data directory.
        kind: a word that is a file's name, e.g. `queue`.

    Raises:
        UnusableError: the lock or the record cannot be written.
    """
    lock = _lock_file(data, kind)
    descriptor = -1
    try:
        # Not inherited by what this process starts: a run must not keep its scheduler's place.
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = Hold(descriptor, lock, record_file(data, kind))
        if not held.holds():  # replaced between open and flock
            os.close(descriptor)
            return hold(data, kind)
        record_file(data, kind).parent.mkdir(parents=True, exist_ok=True)
        write_json(record_file(data, kind), {**identity().to_json(), "kind": kind, "since": time.time()})
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise UnusableError(f"cannot become the {kind} process: {error.filename}: {error.strerror}") from error
    return held


class Worker(Protocol):
    """Works off what is written down of one kind."""

    def work(self, mine: Callable[[], bool]) -> None:
        """Returns when there is no work left, or when it is not `mine`."""

    def left(self) -> bool:
        """Whether there is work that this worker would still do."""


def work_off(data: Path, kind: str, make: Callable[[], Worker]) -> None:
    """Works while there is work; leaves at once where another process does it already.

    Args:
        data: the workspace's data directory.
        kind: a word that is a file's name.
        make: makes the worker, once the place is this process's.

    Raises:
        UnusableError: as `hold`.
    """
    while (held := hold(data, kind)) is not None:
        try:
            worker = make()
            worker.work(held.holds)
        finally:
            held.release()
        # Something may have been written down after the last look and before the release.
        if not worker.left():
            return


def log(text: str) -> None:
    """Adds a line to the log of the kind, which this process's output goes to."""
    # It lies on the disk that may be full; what cannot be written now is written with the next line.
    with suppress(OSError):
        print(f"{time.strftime('%F %T')}  {text}", flush=True)


@contextmanager
def exclusive(data: Path, what: str) -> Iterator[int]:
    """Waits until no other process of this user and host is inside, and keeps others out until the end.

    Args:
        what: names what is changed inside, a word that is a file's name.

    Yields:
        the lock's descriptor: a process that inherits it keeps the others out for as long as it holds it open.

    Raises:
        UnusableError: the lock cannot be taken.
    """
    lock = _lock_file(data, what)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UnusableError(f"cannot open {lock}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def holder(data: Path, kind: str) -> dict[str, Any] | None:
    """The living process that holds the kind on this host, as identity fields and `since`; None when there is none."""
    record = read_object(record_file(data, kind))
    return record if record is not None and is_alive(record) is True else None


def end(data: Path, kind: str) -> None:
    """Ends the process that holds the kind on this host, where there is one, and waits until its place is free.

    For work that bears a `kill -9`, and a process that was started with an environment which does not do.

    Raises:
        UnusableError: it is still there after `END_SECONDS` of SIGTERM, and of SIGKILL.
    """
    record = holder(data, kind)
    if record is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not send_signal(record["pid"], record["start_time"], number):
            return
        until = time.monotonic() + END_SECONDS
        while is_alive(record) is True and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        if is_alive(record) is not True:
            return
    raise UnusableError(f"the {kind} process, {record['pid']}, does not end")


def record_file(data: Path, kind: str) -> Path:
    """Where the holder writes who it is."""
    return _folder(data) / f"{kind}.json"


def log_file(data: Path, kind: str) -> Path:
    """Where the process's output goes."""
    return _folder(data) / f"{kind}.log"


def ensure(data: Path, kind: str, module: str, *arguments: str) -> None:
    """Starts `python -m MODULE ARGUMENTS…` detached; the caller never becomes its parent, and does not wait for it.

    The started process calls `hold` itself and ends when it gets None, so calling this too often costs a process.

    Raises:
        UnusableError: it cannot be started, or its log cannot be written.
    """
    try:
        _folder(data).mkdir(parents=True, exist_ok=True)
        _put_aside(log_file(data, kind))
        with log_file(data, kind).open("ab") as log:
            # The first process only forks: see `main`. -P: the workspace may hold files named like standard modules.
            subprocess.run(
                [sys.executable, "-P", "-m", __name__, module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A run that starts it, by a program that it runs, is not to take it along when it is stopped.
                env={name: value for name, value in os.environ.items() if name != MARK},
                start_new_session=True,
                timeout=START_SECONDS,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnusableError(f"the {kind} process could not be started: {error}") from error


def _put_aside(log: Path) -> None:
    with suppress(FileNotFoundError):  # there is none, or another launch has just put it aside
        if log.stat().st_size > LOG_BYTES:
            os.replace(log, f"{log}.1")


def _folder(data: Path) -> Path:
    return data / ".background" / host_name()


def _lock_file(data: Path, kind: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"kladml-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise UnusableError(f"{folder} belongs to somebody else", hint="set TMPDIR to a directory of your own")
    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    return folder / f"{digest}.{kind}.lock"


def main(arguments: list[str]) -> None:
    """Forks, and becomes the module in a child with a session of its own, whose parent is gone."""
    if os.fork() > 0:
        return
    os.setsid()
    os.execv(sys.executable, [sys.executable, "-P", "-m", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
