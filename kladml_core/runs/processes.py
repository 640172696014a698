"""Which process is meant: a pid with its start time, boot and pid namespace, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_DEAD_STATES = ("Z", "X", "x")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start_time: float
    """Linux: clock ticks from boot to the start, which no change of the clock can move; elsewhere unix time."""
    boot_id: str
    pid_ns: int
    """Inode of the pid namespace; 0 where the system has none."""
    host: str
    uid: int

    def to_json(self) -> dict[str, Any]:
        """The fields as they stand in state.json."""
        return asdict(self)


def identity(pid: int | None = None) -> ProcessIdentity:
    """The identity of a living process, by default this one.

    Raises:
        ProcessLookupError: there is no such process.
    """
    pid = os.getpid() if pid is None else pid
    seen = _look(pid)
    if seen is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessIdentity(pid, seen[0], boot_id(), pid_namespace(), host_name(), os.getuid())


def is_alive(record: Mapping[str, Any]) -> bool | None:
    """Whether the process that a state.json names still runs.

    A zombie is dead. None means that it cannot be judged from here: another host, another pid namespace,
    or another user, or the record is incomplete.
    """
    pid, started = record.get("pid"), record.get("start_time")
    if not isinstance(pid, int) or isinstance(pid, bool) or not isinstance(started, int | float) or pid <= 0:
        return None
    if record.get("host") != host_name() or record.get("uid") != os.getuid():
        return None
    if record.get("boot_id") != boot_id():
        return False  # the machine has been started anew since; nothing of then can be alive
    if record.get("pid_ns") != pid_namespace():
        return None
    seen = _look(pid)
    if seen is None:
        return False
    start, state = seen
    return start == started and state not in _DEAD_STATES


def host_name() -> str:
    """This machine's name, as recorded in state.json."""
    return socket.gethostname()


@lru_cache(maxsize=1)
def boot_id() -> str:
    """A value that changes with each start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil  # not Linux; psutil costs 50 ms, which Linux need not pay

        return str(round(psutil.boot_time()))


@lru_cache(maxsize=1)
def pid_namespace() -> int:
    """The inode of this process's pid namespace, 0 where there is none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _look(pid: int) -> tuple[float, str] | None:
    """Start time and state letter of a process, or None when there is none."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        # The name in parentheses may hold spaces and parentheses: the fields begin after the last one (proc(5)).
        fields = stat[stat.rfind(b")") + 2 :].split()
        return float(fields[19]), fields[0].decode("ascii")
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time(), "Z" if process.status() == psutil.STATUS_ZOMBIE else "R"
    except psutil.Error:
        return None
