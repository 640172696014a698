"""The trash: what pruning and deleting moved away, with a record of its origin, so that it can be put back.

    <data>/.trash/20260131-235959-1a2b3c4d/record.json    written before anything is moved
    <data>/.trash/20260131-235959-1a2b3c4d/0001 …         what was moved, by its number in the record

A thing is moved by one rename, so that after a crash it is either where it was or under its number here.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kladml_core.config.place_names import PLACES
from kladml_core.errors import UnusableError
from kladml_core.runs.disk_use import disk_use
from kladml_core.runs.files import fsync_directory, read_object, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.provenance import user_name
from kladml_core.runs.rundir import CLAIM_SECONDS, PRUNE, RunDirectory
from kladml_core.runs.status import read_status

FOLDER = ".trash"
RECORD = "record.json"
_RUN_PARTS = 5
"""Parts of a run's path below the data directory: projects/project/family/experiment/run_0001."""
DATASET = "dataset"
"""The registration of a dataset: datasets/NAME.yaml below the data directory."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_EMPTIED = ".emptied"
"""Ends the name of an entry that is being deleted: half of it must never be put back."""


@dataclass(frozen=True)
class Thing:
    """Something that goes into the trash, or lies there."""

    number: str
    """Its name in the entry."""
    origin: str
    """Where it came from, below the data directory."""
    run: str
    """The run's reference; that of a project, a family or an experiment where all of it was deleted."""
    what: str
    """Its name there: a checkpoint's, a temporary's, or its own."""
    kind: str
    bytes: int


@dataclass(frozen=True)
class Entry:
    """What one pruning moved away and what of it still lies in the trash."""

    name: str
    path: Path
    time: float
    """Unix seconds."""
    by: str
    """User and host."""
    things: tuple[Thing, ...]
    problem: str = ""
    """Why nothing of it can be put back."""

    @property
    def bytes(self) -> int:
        """Bytes on the disk when it was moved."""
        return sum(thing.bytes for thing in self.things)

    def to_json(self) -> dict[str, Any]:
        """The entry as commands print it."""
        things = [asdict(thing) for thing in self.things]
        more = {"bytes": self.bytes, "problem": self.problem or None, "things": things}
        return {"entry": self.name, "time": self.time, "by": self.by, **more}


@dataclass(frozen=True)
class Restored:
    """What was put back, and what was not, with the reason."""

    entry: str
    things: tuple[Thing, ...]
    left: tuple[tuple[Thing, str], ...]


def folder(data: Path) -> Path:
    """Where the trash of a data directory lies."""
    return data / FOLDER


def begin(data: Path, things: Sequence[Thing]) -> Path:
    """Makes an entry for these things and writes its record; nothing is moved yet.

    Raises:
        UnusableError: it cannot be written.
    """
    now = time.time()
    path = folder(data) / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{uuid.uuid4().hex[:8]}"
    who = {"user": user_name(), "host": host_name()}
    record = {"v": 1, "time": now, **who, "things": [asdict(one) for one in things]}
    try:
        path.mkdir(parents=True)
        write_json(path / RECORD, record)
        fsync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            path.rmdir()
        raise UnusableError(
            f"cannot write into the trash {path.parent}: {error.strerror}",
            hint=_room_hint(data) if error.errno in _NO_ROOM else None,
        ) from error
    return path


def _room_hint(data: Path) -> str:
    if entries(data):
        return "`kladml-tui prune --empty --yes` frees what lies in it"
    return "what is moved is written down first, for which a few kilobytes have to be free"


def drop_if_empty(entry: Path) -> None:
    """Removes an entry in which nothing lies but its record."""
    try:
        if all(name == RECORD for name in os.listdir(entry)):
            (entry / RECORD).unlink(missing_ok=True)
            entry.rmdir()
    except OSError:
        pass  # somebody empties or restores it at this moment


def entries(data: Path) -> list[Entry]:
    """What lies in the trash, the newest first; entries of which everything was put back are left out."""
    try:
        paths = [path for path in folder(data).iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []
    found = [entry for path in paths if (entry := _read(path)) is not None]
    return sorted(found, key=lambda entry: (entry.time, entry.name), reverse=True)


def restore(data: Path, name: str | None = None) -> Restored:
    """Puts back what one pruning moved away, each thing exactly where it was.

    Args:
        data: the workspace's data directory.
        name: the entry's name, or any end or beginning that only one has; the newest when None.

    Raises:
        UnusableError: there is no such entry, or its record is damaged.
    """
    entry = _find(data, name)
    if entry.problem:
        raise UnusableError(
            f"{entry.name} cannot be put back: {entry.problem}", hint=f"what is left is in {entry.path}"
        )
    back: list[Thing] = []
    left: list[tuple[Thing, str]] = []
    for thing in entry.things:
        reason = _put_back(data, entry.path / thing.number, thing)
        if reason is None:
            back.append(thing)
        else:
            left.append((thing, reason))
    drop_if_empty(entry.path)
    return Restored(entry.name, tuple(back), tuple(left))


def empty(data: Path, names: Iterable[str]) -> list[tuple[str, str]]:
    """Deletes these entries for good.

    Returns:
        The names of those that are not gone whole, each with the reason.
    """
    for name in names:
        path = folder(data) / name
        with suppress(FileNotFoundError):
            os.rename(path, path.with_name(f".{name}{_EMPTIED}"))
    problems: list[tuple[str, str]] = []
    # Those of an emptying that was interrupted are gone through too.
    for path in sorted(folder(data).glob(f".*{_EMPTIED}")):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another process empties the trash too
        except OSError as error:
            problems.append((path.name[1 : -len(_EMPTIED)], f"{error.filename}: {error.strerror}"))
    return problems


def _read(path: Path) -> Entry | None:
    record = read_object(path / RECORD) or {}
    try:
        names = {name for name in os.listdir(path) if name.isdigit()}
        changed = path.stat().st_mtime
    except OSError:
        return None  # it was put back or emptied since it was listed
    if not names:
        return None
    try:
        things = [Thing(**one) for one in record["things"]]
        there = tuple(thing for thing in things if thing.number in names and _inside(thing))
        if len(there) == len(names):
            return Entry(path.name, path, float(record["time"]), f"{record['user']} on {record['host']}", there)
    except (KeyError, TypeError, ValueError):
        pass  # said below
    unknown = tuple(Thing(name, "", "", name, "", disk_use(path / name)) for name in sorted(names))
    return Entry(path.name, path, changed, "", unknown, f"{RECORD} is missing or damaged")


def _inside(thing: Thing) -> bool:
    """Whether the record names what holds runs, a run, something in one, or a registered dataset; no other place."""
    texts = all(isinstance(text, str) for text in (thing.number, thing.origin, thing.run, thing.what, thing.kind))
    if not texts or not isinstance(thing.bytes, int):
        return False
    parts = PurePosixPath(thing.origin).parts
    if thing.kind == DATASET:
        return len(parts) == 2 and parts[0] == "datasets" and parts[1].endswith(".yaml")
    right = len(parts) == PLACES.index(thing.kind) + 2 if thing.kind in PLACES else len(parts) >= _RUN_PARTS
    return parts[:1] == ("projects",) and right and ".." not in parts


def _find(data: Path, name: str | None) -> Entry:
    found = entries(data)
    if not found:
        raise UnusableError("the trash is empty")
    if name is None:
        return found[0]
    named = [entry for entry in found if entry.name.startswith(name) or entry.name.endswith(name)]
    if len(named) != 1:
        what = f"{len(named)} entries of the trash are named" if named else "the trash has no entry"
        raise UnusableError(f"{what} {name!r}", hint="`kladml-tui prune --list` lists them")
    return named[0]


def _put_back(data: Path, here: Path, thing: Thing) -> str | None:
    """Puts one thing back; why not, or None."""
    target = data / thing.origin
    run = RunDirectory(data.joinpath(*PurePosixPath(thing.origin).parts[:_RUN_PARTS]))
    is_run = target == run.path or thing.kind in (*PLACES, DATASET)
    if not is_run and not run.path.is_dir():
        return f"{thing.run} is not there; put it back first"
    if not is_run and (status := read_status(run)).live:
        return f"{thing.run} is {status.status}, and would remove it again; stop it first"
    if os.path.lexists(target):
        return f"there is something at {target} again"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(here, target)
    except OSError as error:
        return f"it cannot be moved to {target}: {error.strerror}"
    _drop_claims(run)
    return None


def _drop_claims(run: RunDirectory) -> None:
    """Removes claims that a pruning left behind which did not live to remove them itself."""
    for path in run.attempts.glob("*/attempt.json"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > CLAIM_SECONDS and (read_object(path) or {}).get("purpose") == PRUNE:
                shutil.rmtree(path.parent, ignore_errors=True)
