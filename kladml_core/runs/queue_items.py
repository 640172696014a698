"""The queue on disk: one file an item in `<data>/queue/<host>/`, which only its user's processes there change.

An item's file is the truth about what waits. Its run directory is claimed and its config frozen before it is written;
whoever changes items holds `changing`, so that an item is never taken, moved and removed at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kladml_core.errors import UnusableError
from kladml_core.runs import background
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.slots import Need

KIND = "queue"
"""Of the background process that starts what waits."""

ItemState = Literal["waiting", "starting", "started", "failed"]


@dataclass(frozen=True)
class Item:
    """One attempt of a run that waits for its turn, runs by way of the queue, or failed on that way."""

    number: int
    """Names the file; unique among the items that exist."""
    run: str
    """The run's reference."""
    run_uid: str
    attempt: int
    uid: int
    """The user whose item it is; nobody else's processes touch it."""
    user: str
    order: float
    """Those that wait are started by it, the least first."""
    need: Need
    created: float
    """When it came to wait, unix seconds."""
    by: str
    state: ItemState = "waiting"
    devices: tuple[str, ...] = ()
    """UUIDs of the GPUs it was given."""
    reason: str | None = None
    """Why it failed."""

    @property
    def mine(self) -> bool:
        """Whether it is this user's."""
        return self.uid == os.getuid()


def queue_dir(data: Path, host: str | None = None) -> Path:
    """Where a host's items lie, by default this one's; it need not exist."""
    return data / "queue" / (host or host_name())


def item_file(data: Path, number: int, host: str | None = None) -> Path:
    """The file of an item."""
    return queue_dir(data, host) / f"{number:04d}.json"


def read_items(data: Path, host: str | None = None) -> tuple[Item, ...]:
    """Every user's items of a host in the order in which they start; damaged files are left out."""
    found = (_read(path) for path in queue_dir(data, host).glob("[0-9]*.json"))
    return tuple(sorted((item for item in found if item is not None), key=lambda item: (item.order, item.number)))


def damaged_items(data: Path) -> tuple[Path, ...]:
    """The files of this host's queue that say no item, though something is in them: what was in them does not start."""
    found = queue_dir(data).glob("[0-9]*.json")
    return tuple(sorted(path for path in found if _read(path) is None and _size(path) > 0))


def read_item(data: Path, number: int) -> Item | None:
    """One item of this host as it is now; None when it is gone or damaged."""
    return _read(item_file(data, number))


def places(data: Path) -> dict[str, int]:
    """Reference of each run that waits, on any host, to its place among those of its user there; 1 is next."""
    found: dict[str, int] = {}
    for host in _hosts(data):
        counts: dict[int, int] = {}
        for item in read_items(data, host):
            if item.state == "waiting":
                counts[item.uid] = counts.get(item.uid, 0) + 1
                found[item.run] = counts[item.uid]
    return found


@contextmanager
def changing(data: Path) -> Iterator[int]:
    """This user's right to change items of this host, waited for; yields the lock's descriptor.

    Raises:
        UnusableError: the lock cannot be taken.
    """
    with background.exclusive(data, "queue-items") as descriptor:
        yield descriptor


def write_item(data: Path, item: Item) -> None:
    """Writes an item whole, in place of what its file held.

    Raises:
        UnusableError: it cannot be written.
    """
    path = item_file(data, item.number)
    try:
        write_json(path, {"v": 1, **asdict(item)})
    except OSError as error:
        raise UnusableError(f"cannot write {path}: {error.strerror}", hint="free some space") from error


def new_number(data: Path) -> int:
    """Claims the number of a new item by an exclusive create: other users' processes count here too.

    Raises:
        UnusableError: the queue's directory cannot be written.
    """
    folder = queue_dir(data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.stem) for path in folder.glob("[0-9]*.json") if path.stem.isdigit()), default=0)
        while True:
            try:
                item_file(data, number).open("x").close()
                return number
            except FileExistsError:
                number += 1
    except OSError as error:
        raise UnusableError(f"cannot write the queue in {folder}: {error.strerror}") from error


def drop_item(data: Path, number: int) -> None:
    """Removes an item's file.

    Raises:
        UnusableError: it cannot be removed.
    """
    try:
        item_file(data, number).unlink(missing_ok=True)
    except OSError as error:
        raise UnusableError(f"cannot remove {item_file(data, number)}: {error.strerror}") from error


def drop_damaged(data: Path) -> None:
    """Removes what this user's process left half-made when it died. Only inside `changing`."""
    for path in queue_dir(data).iterdir():
        with suppress(OSError):
            empty_item = path.suffix == ".json" and path.stat().st_size == 0
            if path.stat().st_uid == os.getuid() and (empty_item or path.suffix == ".tmp"):
                path.unlink()


def pause_file(data: Path) -> Path:
    """While it is there, nothing of this user is started on this host."""
    return queue_dir(data) / f"paused-{os.getuid()}"


def run_of(data: Path, item: Item) -> RunDirectory:
    """The item's run directory; it need not exist any more."""
    return RunDirectory(data / "projects" / item.run)


def write_run_state(data: Path, item: Item, status: str, reason: str | None = None) -> None:
    """Writes the state of a run whose attempt has no worker yet: `queued`, or how it ended without one.

    Raises:
        UnusableError: it cannot be written.
    """
    run = run_of(data, item)
    before = run.read_state() or {}
    kept = {
        key: before[key]
        for key in ("epoch", "step", "total_epochs", "total_steps", "last_checkpoint")
        if before.get(key) is not None
    }
    over = {"ended": time.time(), "exit_code": {"stopped": 75, "failed": 3}[status]} if status != "queued" else {}
    state = {
        "v": 1,
        "status": status,
        "attempt": item.attempt,
        "host": host_name(),
        **kept,
        **over,
        "reason": reason,
        "queue": {"host": host_name(), "item": item.number, "run_uid": item.run_uid},
    }
    try:
        write_json(run.state_json, state)
    except OSError as error:
        raise UnusableError(f"cannot write {run.state_json}: {error.strerror}", hint="free some space") from error


def is_queued(run: RunDirectory, state: dict[str, Any]) -> bool:
    """Whether the item that a `queued` state names is there: a run whose item is gone waits for nothing."""
    queue = state.get("queue")
    if not isinstance(queue, dict) or not isinstance(queue.get("item"), int):
        return False
    # The path is data/projects/project/family/experiment/run.
    parents = run.path.absolute().parents
    if len(parents) < 5:
        return False
    found = _read(item_file(parents[4], queue["item"], str(queue.get("host"))))
    return found is not None and (found.run, found.run_uid) == (run.reference, queue.get("run_uid"))


def _hosts(data: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(data / "queue") if entry.is_dir()]
    except OSError:
        return []


def _read(path: Path) -> Item | None:
    found = read_object(path)
    if found is None:
        return None
    try:
        need = Need(**found.pop("need"))
        devices = tuple(str(device) for device in found.pop("devices"))
        found.pop("v")
        item = Item(**found, need=need, devices=devices)
    except (KeyError, TypeError):
        return None
    right = isinstance(item.run, str) and isinstance(item.order, int | float) and item.number == _number(path)
    return item if right else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # started, or taken out, meanwhile


def _number(path: Path) -> int | None:
    return int(path.stem) if path.stem.isdigit() else None
