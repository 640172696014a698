"""What is to be uploaded from this host: the list of attempts, a file for each, and what is still to go of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kladml_core.config.secrets import mask
from kladml_core.errors import KladMLError
from kladml_core.runs import background
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.runs.stored import Store
from kladml_core.runs.upload_checkpoints import committed
from kladml_core.runs.upload_files import FILE, artifacts, is_sent, read_uploads, records, stamp
from kladml_core.settings import Settings, load_settings

PROCESS = "uploads"
"""The kind of the background process that uploads them."""
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Listed:
    """A run of which attempts are to be uploaded."""

    uid: str
    run: RunDirectory
    workspace: Path
    files: tuple[Path, ...]
    """One for each attempt; removed once everything of it is there."""
    version: tuple[object, ...]
    """Another one once the run was listed anew."""


@dataclass(frozen=True)
class PendingUpload:
    """What is still to be uploaded of a run."""

    run: str
    """Its reference."""
    uid: str
    files: int
    """How many files are still to go; of a live run those of its checkpoints, the rest follows at its end."""
    bytes: int
    """Their size."""
    live: bool
    """Whether more is to come."""
    error: str | None
    """Why it does not get on, where it does not."""
    error_since: float | None
    """Since when, in unix seconds."""
    refused: bool
    """Whether it is not tried again before the next launch of the run."""


def store_of(settings: Settings, bucket: str | None = None) -> Store | None:
    """The storage of a workspace, to read from or to write to; None where it has none.

    Args:
        bucket: another bucket than kladml.yaml names.

    Raises:
        ConfigError, UnusableError: as `make_storage`.
    """
    from kladml_core.backends.choose import make_storage

    storage = make_storage(settings)
    if storage is None:
        return None
    return Store(storage, bucket or settings.storage.bucket, settings.storage.prefix or "")


def is_wanted(settings: Settings) -> bool:
    """Whether anything of this workspace's runs is uploaded. Loads no backend."""
    from kladml_core.backends.choose import copies

    return copies(settings) and (settings.storage.upload.artifacts or settings.storage.upload.checkpoints)


def target_of(settings: Settings) -> str:
    """The storage and the place in it, as uploads.json names them; other options are another storage."""
    storage = settings.storage
    options = " ".join(f"{name}={value}" for name, value in sorted(storage.options.items()))
    return mask(
        " ".join(filter(None, (storage.backend, options, f"{storage.bucket}/{(storage.prefix or '').strip('/')}")))
    )


def folder(data: Path) -> Path:
    """Where the list is kept; one for each host, so that only its own processes look."""
    return data / ".background" / host_name() / PROCESS


def listed(data: Path) -> list[Listed]:
    """The runs that are to be uploaded from this host, in the order in which they were listed."""
    found: dict[str, Listed] = {}
    for file in sorted(folder(data).glob("*.json"), key=_changed):
        entry = read_object(file) or {}
        uid, path, workspace = (entry.get(key) for key in ("uid", "run", "workspace"))
        if isinstance(uid, str) and isinstance(path, str) and isinstance(workspace, str):
            before = found.get(uid)
            files = (*before.files, file) if before else (file,)
            version = (*(before.version if before else ()), path, file.name, entry.get("time"))
            # The newest file names the place where the run lay last.
            found[uid] = Listed(uid, RunDirectory(Path(path)), Path(workspace), files, version)
    return list(found.values())


def enlist(run: RunDirectory, attempt: int, workspace: Path) -> None:
    """Puts a started attempt on the list and sees to it that somebody works it off; nothing where nothing is uploaded.

    What goes wrong here is written to the log of the background process: a run is not ended for its uploads.
    """
    try:
        settings = load_settings(workspace)
    except KladMLError:
        return  # kladml.yaml was readable when this launch began; whoever edits it sees the fault there
    if not is_wanted(settings):
        return
    try:
        add(settings, run, attempt)
        start(settings)
    except (OSError, KladMLError) as error:
        with suppress(OSError), background.log_file(settings.data, PROCESS).open("a", encoding="utf-8") as log:
            print(f"{time.strftime('%F %T')}  {run.reference} is not uploaded: {error}", file=log)


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
    entry = {"v": 1, "uid": uid, "run": str(run.path.resolve()), "workspace": str(settings.root), "time": time.time()}
    write_json(place / f"{uid}-{attempt:03d}.json", entry, durable=False)


def start(settings: Settings) -> None:
    """Sees to it that the process runs that works off the list.

    Raises:
        UnusableError: it cannot be started.
    """
    background.ensure(settings.data, PROCESS, "kladml_core.runs.uploads_process", str(settings.root))


def let_go(settings: Settings) -> None:
    """Ends a process that fails, so that the next one is started with this one's environment, and tries at once.

    Keys come from the environment, and the process has that of the launch which started it.

    Raises:
        UnusableError: it does not end.
    """
    # Whatever storage it fails on: its variables may name another one than this process's.
    noted = [read_object(entry.run.path / FILE) or {} for entry in listed(settings.data)]
    if any(one.get("error") and not one.get("refused") for one in noted):
        background.end(settings.data, PROCESS)


def go_on(settings: Settings) -> None:
    """Starts the process where something is left and none runs: one that was killed, or a machine started anew.

    Raises:
        UnusableError: it cannot be started.
    """
    if is_wanted(settings) and background.holder(settings.data, PROCESS) is None and listed(settings.data):
        start(settings)


def send(settings: Settings, runs: Iterable[RunDirectory]) -> None:
    """Uploads runs that are not on the list, those from before there was a storage say; in the background.

    Raises:
        OSError: the list cannot be written.
        UnusableError: the process cannot be started.
    """
    for run in runs:
        add(settings, run, read_status(run).attempt or 1)
    if is_wanted(settings) and listed(settings.data):
        start(settings)


def pending(data: Path) -> list[PendingUpload]:
    """What is still to be uploaded from this host, run by run. Asks no storage.

    Args:
        data: the workspace's data directory.
    """
    found = []
    for entry in listed(data):
        try:
            settings = load_settings(entry.workspace)
        except KladMLError:
            continue  # whoever edits kladml.yaml sees the fault there
        if is_wanted(settings) and entry.run.inode is not None:
            found.append(_pending(entry.uid, entry.run, settings))
    return found


def outstanding(settings: Settings, runs: Iterable[RunDirectory]) -> list[PendingUpload]:
    """What is still to be uploaded of these runs, listed or not; of some that may be nothing."""
    if not is_wanted(settings):
        return []
    entries = ((uid_of(run), run) for run in runs)
    return [_pending(uid, run, settings) for uid, run in entries if uid is not None]


def wait_until_uploaded(data: Path, seconds: float, uids: Iterable[str] | None = None) -> list[PendingUpload]:
    """Waits until ended runs are uploaded, and live ones as far as they are; those that are refused are not waited for.

    Args:
        data: the workspace's data directory.
        seconds: for how long.
        uids: the runs; all that are listed on this host when None.

    Returns:
        What is still to be uploaded.
    """
    wanted = None if uids is None else set(uids)
    until = time.monotonic() + seconds
    while True:
        left = [
            one
            for one in pending(data)
            if (one.files or not one.live or one.refused) and (wanted is None or one.uid in wanted)
        ]
        if all(one.refused for one in left) or time.monotonic() >= until:
            return left
        time.sleep(_LOOK_SECONDS)


def uid_of(run: RunDirectory) -> str | None:
    """The run's uid, None where its directory is gone or damaged."""
    uid = (run.read_run() or {}).get("uid")
    return uid if isinstance(uid, str) else None


def _pending(uid: str, run: RunDirectory, settings: Settings) -> PendingUpload:
    wanted = settings.storage.upload
    live = read_status(run).live
    uploads = read_uploads(run, target_of(settings), uid)
    names: list[str] = []
    if wanted.checkpoints:
        for checkpoint, written in committed(run).items():
            if uploads.settled.get(checkpoint) != written:
                names += [f"checkpoints/{checkpoint}/{name}" for name in _files_in(run.checkpoints / checkpoint)]
    if not live:
        names += records(run) + (artifacts(run) if wanted.artifacts else [])
    left = [name for name in names if not is_sent(run, name, uploads)]
    sizes = [seen[0] for name in left if (seen := stamp(run.path / name)) is not None]
    return PendingUpload(
        run.reference,
        uid,
        len(sizes),
        sum(sizes),
        live,
        uploads.error,
        uploads.error_since,
        uploads.refused,
    )


def _files_in(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return []  # retention took it meanwhile


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0  # uploaded meanwhile
