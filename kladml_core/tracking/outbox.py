"""The list of attempts that are to be sent from this host, a file for each, and how they get onto it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kladml_core.backends.network_disks import network_file_system
from kladml_core.errors import KladMLError
from kladml_core.runs import background
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings, load_settings
from kladml_core.tracking.state import LOCAL, target_of, uid_of

PROCESS = "sync"
"""The kind of the background process that sends them."""


@dataclass(frozen=True)
class Listed:
    """A run of which attempts are to be sent."""

    uid: str
    run: RunDirectory
    attempt: int
    """The newest of them."""
    files: tuple[Path, ...]
    """One for each attempt; removed once it is sent."""


def folder(data: Path) -> Path:
    """Where the list is kept; one for each host, so that only its own processes look."""
    return data / ".background" / host_name() / PROCESS


def listed(data: Path) -> list[Listed]:
    """The runs that are to be sent from this host, in the order in which they were listed first."""
    found: dict[str, Listed] = {}
    for file in sorted(folder(data).glob("*.json"), key=_changed):
        entry = read_object(file) or {}
        uid, path, attempt = (entry.get(key) for key in ("uid", "run", "attempt"))
        if not (isinstance(uid, str) and isinstance(path, str) and isinstance(attempt, int)):
            continue
        before = found.get(uid)
        files = (*before.files, file) if before else (file,)
        newest = max(attempt, before.attempt) if before else attempt
        # The newest file names the place where the run lay last.
        found[uid] = Listed(uid, RunDirectory(Path(path)), newest, files)
    return list(found.values())


def enlist(run: RunDirectory, attempt: int, workspace: Path) -> None:
    """Puts a started attempt on the list and sees to it that somebody works it off; nothing where nothing is tracked.

    What goes wrong here is written to the log of the background process: a run is not ended for its tracking.
    """
    try:
        settings = load_settings(workspace)
    except KladMLError:
        return  # kladml.yaml was readable when this launch began; whoever edits it sees the fault there
    if target_of(settings) is None or refusal(settings) is not None:
        return
    try:
        add(settings, run, attempt)
        start(settings)
    except (OSError, KladMLError) as error:
        with suppress(OSError), background.log_file(settings.data, PROCESS).open("a", encoding="utf-8") as log:
            print(f"{time.strftime('%F %T')}  {run.reference} is not tracked: {error}", file=log)


def add(settings: Settings, run: RunDirectory, attempt: int) -> None:
    """Puts an attempt on the list.

    Raises:
        OSError: the list cannot be written.
    """
    uid = uid_of(run)
    if uid is None:
        return  # damaged; there is nothing that it could be found again by
    place = folder(settings.data)
    place.mkdir(parents=True, exist_ok=True)
    entry = {"v": 1, "uid": uid, "run": str(run.path.resolve()), "attempt": attempt}
    write_json(place / f"{uid}-{attempt:03d}.json", entry, durable=False)


def take_off(files: Iterable[Path]) -> None:
    """Removes attempts that are sent, or that there is nothing to send of."""
    for file in files:
        file.unlink(missing_ok=True)


def start(settings: Settings) -> None:
    """Sees to it that the process runs that works off the list.

    Raises:
        UnusableError: it cannot be started.
    """
    background.ensure(settings.data, PROCESS, "kladml_core.tracking.sync", str(settings.root))


def refusal(settings: Settings) -> str | None:
    """Why runs of this workspace are not tracked although they should be; None where they can be."""
    if target_of(settings) != LOCAL:
        return None
    kind = network_file_system(settings.data)
    if kind is None:
        return None
    return (
        f"the run is not tracked: {settings.data} is on a network file system ({kind}), where SQLite loses data; set "
        "tracker.uri in kladml.yaml to a server or to a file on a local disk, or tracker.backend to none"
    )


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0  # sent meanwhile
