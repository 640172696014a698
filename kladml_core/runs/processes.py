"""Which process is meant: a pid with its start time, boot and pid namespace; whether it still lives; signals to it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_DEAD_STATES = ("Z", "X", "x")


@dataclass(frozen=True)
class Seen:
    """A process as the system shows it at one moment."""

    start_time: float
    """As in `ProcessIdentity`."""
    state: str
    parent: int
    group: int
    session: int
    """0 where the system does not tell."""

    @property
    def dead(self) -> bool:
        """Whether nothing of it is left but its exit code."""
        return self.state in _DEAD_STATES


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
    seen = look(pid)
    if seen is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessIdentity(pid, seen.start_time, boot_id(), pid_namespace(), host_name(), os.getuid())


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
    seen = look(pid)
    return seen is not None and seen.start_time == started and not seen.dead


def send_signal(pid: int, start_time: float, number: int) -> bool:
    """Sends a signal to a process of this machine, and to no other that may have its pid by now.

    Returns:
        whether that process lives and was signalled.

    Raises:
        PermissionError: it is another user's.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):  # not Linux, an old kernel, or a sandbox: a moment between look and kill remains
        seen = look(pid)
        if seen is None or seen.start_time != start_time or seen.dead:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
    try:
        # The descriptor is of whoever had the pid when it was opened; the same start time after that makes it ours.
        seen = look(pid)
        if seen is None or seen.start_time != start_time or seen.dead:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def processes() -> dict[int, Seen]:
    """Every process of this user by its pid, zombies too."""
    uid, found = os.getuid(), {}
    if sys.platform == "linux":
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                # A process that forbids being looked into belongs to root here; its stat can be read all the same.
                if os.stat(f"/proc/{name}").st_uid not in (uid, 0):
                    continue
            except OSError:
                continue
            seen = look(int(name))
            if seen is not None:
                found[int(name)] = seen
        return found
    import psutil

    for process in psutil.process_iter(["uids"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == uid and (seen := look(process.pid)) is not None:
            found[process.pid] = seen
    return found


def variable(pid: int, name: str) -> str | None:
    """A variable of the environment that a process was started with; None where it has none or may not be read."""
    if sys.platform == "linux":
        try:
            block = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return None
        start = name.encode() + b"="
        found = next((entry for entry in block.split(b"\0") if entry.startswith(start)), None)
        return None if found is None else os.fsdecode(found[len(start) :])
    import psutil

    try:
        return psutil.Process(pid).environ().get(name)
    except (psutil.Error, OSError):
        return None


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


def look(pid: int) -> Seen | None:
    """A process of this machine as it is now, or None when there is none."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        # The name in parentheses may hold spaces and parentheses: the fields begin after the last one (proc(5)).
        fields = stat[stat.rfind(b")") + 2 :].split()
        return Seen(float(fields[19]), fields[0].decode("ascii"), *(int(field) for field in fields[1:4]))
    import psutil

    try:
        process = psutil.Process(pid)
        state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "R"
        return Seen(process.create_time(), state, process.ppid(), os.getpgid(pid), os.getsid(pid))
    except (psutil.Error, OSError):
        return None
