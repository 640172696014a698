"""What of one ended run could go to free space, and why; what is kept is its best, its newest and the pinned ones."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kladml_core.config.load import read
from kladml_core.errors import KladMLError
from kladml_core.runs.checkpoint_list import CheckpointRow, list_checkpoints
from kladml_core.runs.disk_use import disk_use
from kladml_core.runs.pins import read_pins
from kladml_core.runs.processes import is_alive
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus

CHECKPOINT, DAMAGED, TEMPORARY, RUN = "checkpoint", "damaged", "temporary", "run"
"""The kinds of things that may go."""

QUIET_SECONDS = 3600.0
"""For how long nothing may have been written into a run whose end cannot be proved from here, before it is touched."""
_SETTLED_SECONDS = 60.0
"""Age of a temporary file that nobody is writing any more."""
_WITHOUT_RESULT = frozenset({"failed", "stopped", "lost", "damaged"})
_REJECTED = re.compile(r"step-\d{10,}\.rejected-[0-9a-f]+")
_TEMPORARY = re.compile(r"\..+\.tmp")


@dataclass(frozen=True)
class Wish:
    """What a person wants gone."""

    runs: bool = False
    """Whole runs too."""
    before: float | None = None
    """Only what is older than this, in unix seconds."""
    named: frozenset[Path] = frozenset()
    """The runs that were named themselves: with `runs` they go whole, whatever became of them."""


@dataclass(frozen=True)
class Candidate:
    """One thing that could go."""

    run: str
    """The run's reference."""
    what: str
    """Its name: a checkpoint's, a temporary's, or the run's own."""
    kind: str
    """checkpoint, damaged, temporary or run."""
    bytes: int
    """What it takes on the disk."""
    why: str
    directory: Path = field(repr=False)
    """The run's."""
    path: Path = field(repr=False)
    stamp: tuple[int, ...] = field(repr=False)
    """Which thing is meant: another one under the same name has another stamp."""

    def to_json(self) -> dict[str, Any]:
        """The line as commands print it."""
        return {key: getattr(self, key) for key in ("run", "what", "kind", "bytes", "why")}


@dataclass(frozen=True)
class Left:
    """Something that stays, and why."""

    run: str
    what: str
    why: str


def kept(run: RunDirectory) -> list[CheckpointRow]:
    """The checkpoints that a run is continued and judged by: its newest valid one and its best."""
    return [row for row in list_checkpoints(run) if row.valid and (row.best or row.latest)]


def candidates(run: RunDirectory, status: RunStatus, wish: Wish) -> tuple[list[Candidate], list[Left]]:
    """What of a run could go, oldest first, and what stays although somebody might expect it here.

    Args:
        run: one that is not live.
        status: as it was read before.
        wish: what is wanted.
    """
    rows, pins = list_checkpoints(run), read_pins(run)
    reference = run.reference
    if pins is None:
        return [], [Left(reference, "", "its notes.yaml cannot be read, so that any checkpoint may be pinned")]
    if not _surely_over(run, status):
        return [], [Left(reference, "", f"it is {status.status}, but was written to of late and may live elsewhere")]
    if wish.runs:
        whole = _whole(run, status, wish, rows)
        if isinstance(whole, Candidate):
            return [whole], []
        if whole is not None:
            return [], [whole]
    if status.status == "damaged":
        return [], [Left(reference, "", f"it is damaged: {status.damaged}")] if rows else []
    found: list[Candidate] = []
    left: list[Left] = []
    for line in (*_checkpoints(run, rows), *_leftovers(run, any(row.valid for row in rows))):
        path, kind, why, written = line
        if wish.before is not None and written > wish.before:
            continue
        if path.is_symlink():
            left.append(Left(reference, path.name, "it is a symbolic link"))
            continue
        stamp = _stamp(path)
        if stamp is not None:
            found.append(Candidate(reference, path.name, kind, disk_use(path), why, run.path, path, stamp))
    return found, left


def _checkpoints(run: RunDirectory, rows: list[CheckpointRow]) -> Iterator[tuple[Path, str, str, float]]:
    """Path, kind, reason and time of each checkpoint that could go."""
    valid = any(row.valid for row in rows)
    for row in reversed(rows):
        if row.best or row.latest or row.pinned or not valid:
            continue
        path = run.checkpoints / row.name
        if row.valid:
            yield path, CHECKPOINT, "neither best nor newest", row.time
        else:
            yield path, DAMAGED, f"damaged: {row.problem}", row.time


def _leftovers(run: RunDirectory, valid: bool) -> Iterator[tuple[Path, str, str, float]]:
    """The same of what crashes left behind, and of checkpoints that were set aside as damaged."""
    settled = time.time() - _SETTLED_SECONDS
    for directory in (run.path, run.checkpoints, run.control, run.metrics, *_subdirectories(run.attempts)):
        for path in _listed(directory):
            rejected = directory == run.checkpoints and _REJECTED.fullmatch(path.name)
            if not rejected and not _TEMPORARY.fullmatch(path.name):
                continue
            try:
                written = path.lstat().st_mtime
            except OSError:
                continue
            if rejected and valid:
                yield path, DAMAGED, "damaged; its step was written again", written
            elif not rejected and written < settled:
                yield path, TEMPORARY, "half written when a process died", written


def _whole(run: RunDirectory, status: RunStatus, wish: Wish, rows: list[CheckpointRow]) -> Candidate | Left | None:
    """The run as a whole, why it stays although it was named, or None where it is not to go."""
    named = run.path in wish.named
    pinned = [row.name for row in rows if row.pinned]
    if not named and (
        pinned or status.status not in _WITHOUT_RESULT or any(row.valid for row in rows) or _starred(run)
    ):
        return None
    if pinned:
        return Left(run.reference, run.path.name, f"{', '.join(pinned)} is pinned")
    if run.path.is_symlink():
        return Left(run.reference, run.path.name, "it is a symbolic link")
    place = _stamp(run.path, content=False)
    if place is None:
        return Left(run.reference, run.path.name, "it is gone")
    ended = status.ended or status.heartbeat or status.created or run.path.lstat().st_mtime
    if wish.before is not None and ended > wish.before:
        return None
    what = f"{status.status}, without a valid checkpoint" if not named else f"{status.status}; the whole run"
    stamp = (*place, status.attempt or 0)
    return Candidate(run.reference, run.path.name, RUN, disk_use(run.path), what, run.path, run.path, stamp)


def _starred(run: RunDirectory) -> bool:
    if not run.notes.exists():
        return False
    try:
        return read(run.notes, empty_ok=True).data.get("star") is True
    except KladMLError:
        return True  # damaged notes may say so


def _surely_over(run: RunDirectory, status: RunStatus) -> bool:
    """Whether nothing can be writing into the run: it said its end itself, or its process is proved dead from here.

    Where neither is so (its state is damaged, or tells of a process of another machine or of another directory), it has
    to have been silent for long.
    """
    if status.status not in ("lost", "damaged") or is_alive(run.read_state() or {}) is False:
        return True
    newest = 0.0
    for path in (run.state_json, run.events, run.console_log, run.metrics, run.checkpoints):
        try:
            newest = max(newest, path.stat().st_mtime)
        except OSError:
            continue
    return time.time() - newest > QUIET_SECONDS


def _stamp(path: Path, *, content: bool = True) -> tuple[int, ...] | None:
    """Which file or directory this is; with `content` one that was written to is another one."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, *([status.st_mtime_ns] if content else []))


def _subdirectories(parent: Path) -> list[Path]:
    return [path for path in _listed(parent) if path.is_dir() and not path.is_symlink()]


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
