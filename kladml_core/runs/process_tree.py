"""Which processes belong to an attempt: the recorded ones, those that bear its mark, and what they have started.

Each leading process (the launcher, every rank) writes its identity to `attempts/NNN/processes/<role>.json`. The
launcher of several processes gives each a session of its own, and what it has started outlives it; so membership is
not read from sessions alone: a variable with the attempt's mark is inherited by every process of the tree, and is
found again when all that led to it are gone.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import Seen, identity, is_alive, processes, send_signal, variable
from kladml_core.runs.rundir import RunDirectory

MARK = "KLADML_ATTEMPT"
"""The variable with the mark, a word of which attempt.json holds the same."""

LAUNCHER = "launcher"
"""Role of the process that was started first: with one process the worker itself."""


@dataclass(frozen=True)
class Member:
    """A living process of the tree."""

    pid: int
    start_time: float
    role: str = ""
    """`launcher`, `rank-0`, …; empty for what those have started."""
    state: str = ""
    """Of the system: `R`, `S`, `T` for one that was stopped, `D` for one that waits for a device."""

    def signal(self, number: int) -> bool:
        """Sends a signal, and tells whether this very process was there to get it."""
        return send_signal(self.pid, self.start_time, number)


def launcher_role(machine: int) -> str:
    """Role of the first process on one of several machines."""
    return f"{LAUNCHER}-{machine}" if machine else LAUNCHER


def new_mark() -> str:
    """A word that no other attempt has."""
    return uuid.uuid4().hex


def mark_of(run: RunDirectory, attempt: int) -> dict[str, str]:
    """The variable that every process of the attempt gets; empty for an attempt without a mark."""
    mark = (run.read_attempt(attempt) or {}).get("mark")
    return {MARK: mark} if isinstance(mark, str) and mark else {}


def register(run: RunDirectory, attempt: int, role: str) -> None:
    """Writes down that this process is one of the attempt's."""
    folder = run.attempt_dir(attempt) / "processes"
    try:
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{role}.json", {"role": role, **identity().to_json()}, durable=False)
    except OSError:
        pass  # the disk is full: state.json names rank 0, and the mark finds the others


def recorded(run: RunDirectory, attempt: int) -> list[dict[str, object]]:
    """What `register` wrote, and the process that state.json names where none of those is it."""
    folder = run.attempt_dir(attempt) / "processes"
    found = [record for path in sorted(folder.glob("*.json")) if (record := read_object(path)) is not None]
    state = run.read_state() or {}
    if state.get("attempt") == attempt and not any(_same(record, state) for record in found):
        found.append({**state, "role": "rank-0"})
    return found


class ProcessTree:
    """The tree of one attempt, remembered from look to look: what was once seen in it stays a member until it is dead.

    Args:
        run: the run.
        attempt: its attempt.
    """

    def __init__(self, run: RunDirectory, attempt: int) -> None:
        self._run = run
        self._attempt = attempt
        self._mark = mark_of(run, attempt).get(MARK)
        self._roles: dict[tuple[int, float], str] = {}

    def elsewhere(self) -> list[str]:
        """Hosts of the recorded processes that cannot be looked at from here."""
        return sorted({str(one.get("host")) for one in recorded(self._run, self._attempt) if is_alive(one) is None})

    def look(self) -> list[Member]:
        """The living processes of the tree on this machine, leading ones first; never this one or its ancestors."""
        seen = processes()
        spared = _own_line(seen)
        # Nor what those have started: whoever stops a run from within one of its processes is not to stop himself.
        seen = {pid: one for pid, one in seen.items() if pid not in spared}
        for record in recorded(self._run, self._attempt):
            pid, start = record.get("pid"), record.get("start_time")
            # A dead one is remembered too, as long as its zombie holds its session's number.
            if is_alive(record) is not None and isinstance(pid, int) and isinstance(start, int | float):
                self._roles[pid, float(start)] = str(record.get("role") or "")
        self._add_started(seen)
        alive = [
            Member(pid, start, role, seen[pid].state)
            for (pid, start), role in self._roles.items()
            if pid in seen and seen[pid].start_time == start and not seen[pid].dead
        ]
        return sorted(alive, key=lambda member: (member.role == "", member.role != "rank-0", member.role))

    def _add_started(self, seen: Mapping[int, Seen]) -> None:
        marks = {pid: variable(pid, MARK) for pid in seen}
        members = {pid for pid, start in self._roles if pid in seen and seen[pid].start_time == start}
        if self._mark is not None:
            members |= {pid for pid, mark in marks.items() if mark == self._mark}
        while True:
            more = {
                pid
                for pid, one in seen.items()
                if pid not in members
                # A run that was started from within this one is a run of its own.
                and marks[pid] in (None, self._mark)
                and members & {one.parent, one.session, one.group}
            }
            if not more:
                break
            members |= more
        for pid in members:
            self._roles.setdefault((pid, seen[pid].start_time), "")


def _same(record: Mapping[str, object], state: Mapping[str, object]) -> bool:
    return all(record.get(key) == state.get(key) for key in ("pid", "start_time", "boot_id", "host"))


def _own_line(seen: Mapping[int, Seen]) -> set[int]:
    """This process and those it descends from: whoever stops a run is to live on."""
    line: set[int] = set()
    pid = os.getpid()
    while pid in seen and pid not in line:
        line.add(pid)
        pid = seen[pid].parent
    return line
