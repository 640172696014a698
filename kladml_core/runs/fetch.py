"""Fetching a run from a storage into this workspace, where it is the same run and can go on.

What is fetched lies in a directory that is no run's until all of it is there and every hash holds; then it gets its
name in one step. A fetch that was interrupted goes on with what it has.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.background import exclusive
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.fetch_files import Download, Moved, Progress, download
from kladml_core.runs.fetch_place import ADDED, NEW, REPLACED, put_back, put_in_place
from kladml_core.runs.ref import RunRef
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.runs.stored import LIVE_SECONDS, DamagedManifest, Store, StoredCheckpoint, StoredRun
from kladml_core.runs.upload_files import sha256_of

CHOICES = ("best", "last", "all", "none")
_TRIES = 6
"""How often a run that is stored anew while it is fetched is begun again."""
_NAMED = re.compile(r"(.*(?:run_\d{4,}|\b\d+))@(.+)", re.DOTALL)


@dataclass(frozen=True)
class Fetched:
    """What came of a fetch."""

    run: str
    """The run's reference, in the storage and here."""
    path: Path
    uid: str
    how: str
    """`new`; `replaced` where the run here had been left behind; or `added`: checkpoints that it lacked."""
    files: int
    """How many were downloaded."""
    bytes: int
    """Their size."""
    checkpoints: tuple[str, ...]
    """Those that were asked for, all of which are here now."""
    status: str
    """The run's status when it was stored."""
    live: bool
    """Whether it was live then, and so soon ago that it may be still."""
    host: str
    """Where it ran."""
    stored: float
    """Unix seconds when it was stored."""

    def to_json(self) -> dict[str, Any]:
        """What was fetched, as commands print it."""
        return {**vars(self), "path": str(self.path), "checkpoints": list(self.checkpoints)}


def parse_name(text: str) -> tuple[str, str | None]:
    """A run's name, and the checkpoint's behind an `@` where there is one."""
    named = _NAMED.fullmatch(text.strip())
    return (named[1], named[2]) if named else (text.strip(), None)


def stored_runs(store: Store, prefix: str = "") -> Iterator[StoredRun | tuple[str, str]]:
    """The runs in a storage, by reference; of one whose manifest is damaged its reference and what is wrong.

    Args:
        prefix: only those below it: a project, a family, an experiment, or the beginning of a reference.

    Raises:
        KladMLError: whatever the storage raises.
    """
    for reference in store.references(prefix):
        try:
            found = store.read(reference)
        except DamagedManifest as damage:
            yield reference, damage.message
            continue
        if found is not None:
            yield found


def find_stored(store: Store, text: str) -> StoredRun:
    """The one run in a storage that a reference, or any unambiguous end of one, names.

    Raises:
        UnusableError: there is none, or several.
    """
    wanted = text.strip().strip("/")
    wanted = f"run_{int(wanted):04d}" if wanted.isdigit() else wanted
    if wanted.count("/") == len(RunRef.__dataclass_fields__) - 1:
        names = [wanted]
    else:
        names = [name for name in store.references() if f"/{name}".endswith(f"/{wanted}")] if wanted else []
    if len(names) > 1:
        shown = ", ".join(names[:8])
        raise UnusableError(f"{text!r} names {len(names)} runs: {shown}", hint="Write more of the reference")
    found = store.read(names[0]) if names else None
    if found is None:
        raise UnusableError(
            f"{store.bucket} holds no run named {text!r}", hint="`kladml-tui fetch --list` shows what it holds"
        )
    return found


def fetch(
    data: Path,
    store: Store,
    name: str,
    *,
    checkpoints: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Fetched:
    """Fetches a run to the same reference in this workspace, or what the run here lacks of it.

    Args:
        data: the workspace's data directory.
        store: where it is fetched from.
        name: the run's reference, or any unambiguous end of one; behind an `@` the one checkpoint that is fetched: its
            name, its step, `best` or `last`.
        checkpoints: best, last, all or none; without it the best and the last, which is what going on needs.
        progress: told before each file, from this thread.

    Raises:
        ConfigError: `checkpoints` is none of these, or given beside an `@`.
        UnusableError: there is no such run or checkpoint; here lies another run under its name, or it is live here, or
            has gone on here; a file is damaged in the storage, or cannot be written.
        KladMLError: whatever the storage raises.
    """
    text, checkpoint = parse_name(name)
    if checkpoints is not None and checkpoint is not None:
        raise ConfigError("@CHECKPOINT and --checkpoints do not go together")
    if checkpoints not in (None, *CHOICES):
        raise ConfigError(f"--checkpoints is one of {', '.join(CHOICES)}, not {checkpoints!r}")
    stored = find_stored(store, text)
    with exclusive(data, f"fetch-{re.sub('[^0-9a-z]', '', stored.uid)[:64]}"):
        for _ in range(_TRIES):
            try:
                return _fetch(data, store, stored, _chosen(stored, checkpoint, checkpoints), progress)
            except Moved as moved:
                stored = moved.stored
    raise UnusableError(f"{stored.reference} is stored anew all the time", hint="Try again in a moment")


def _chosen(stored: StoredRun, checkpoint: str | None, choice: str | None) -> tuple[StoredCheckpoint, ...]:
    if checkpoint is not None:
        wanted = checkpoint.strip()
        for one in stored.checkpoints:
            marks = {
                one.name,
                str(one.step),
                "best" if one is stored.best else "",
                "last" if one is stored.last else "",
            }
            if wanted and (wanted in marks or (wanted == "newest" and "last" in marks)):
                return (one,)
        names = ", ".join(one.name for one in reversed(stored.checkpoints))
        hint = f"It has {names}" if names else "storage.upload.checkpoints in kladml.yaml uploads them"
        raise UnusableError(f"there is no checkpoint {wanted!r} of {stored.reference} in the storage", hint=hint)
    if choice == "all":
        return stored.checkpoints
    marked = {"best": [stored.best], "last": [stored.last], "none": []}.get(choice or "", [stored.best, stored.last])
    return tuple(one for one in stored.checkpoints if one in marked)


def _fetch(
    data: Path,
    store: Store,
    stored: StoredRun,
    chosen: Sequence[StoredCheckpoint],
    progress: Callable[[Progress], None],
) -> Fetched:
    target = RunDirectory(data.joinpath("projects", *stored.reference.split("/")))
    half = target.path.with_name(f".fetching-{re.sub('[^0-9a-z]', '', stored.uid)[:64]}.tmp")
    try:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        put_back(target, half)
        how = _how(target, store, stored, half)
        files = {} if how == ADDED else dict(stored.files)
        there = {row.name for row in list_checkpoints(target) if row.valid} if how != NEW else set()
        for one in chosen:
            if one.name not in there or how == REPLACED:
                files |= {f"checkpoints/{one.name}/{name}": file for name, file in one.files.items()}
        here = target.path if how != NEW else None
        loaded = download(Download(store, stored, files, half, here), progress)
        put_in_place(target, half, store, stored, chosen, how)
    except OSError as error:
        raise UnusableError(
            f"{stored.reference} cannot be written: {error.strerror or error}",
            hint=f"What has been fetched lies in {half}, from where the next fetch goes on",
        ) from error
    return Fetched(
        stored.reference,
        target.path,
        stored.uid,
        how,
        loaded.files,
        loaded.bytes,
        tuple(one.name for one in chosen),
        stored.status,
        is_live(stored),
        stored.host,
        stored.time,
    )


def is_live(stored: StoredRun) -> bool:
    """Whether a run has to be taken for live, wherever it runs: it was when it was stored, and that is not long ago."""
    return stored.live and time.time() - stored.time < LIVE_SECONDS


def _how(target: RunDirectory, store: Store, stored: StoredRun, half: Path) -> str:
    """What a fetch does to what is here: `new`, `added` or `replaced`.

    Raises:
        UnusableError: it must not do anything.
    """
    if target.inode is None:
        return NEW
    identity = target.read_run()
    if identity is None or identity.get("uid") != stored.uid:
        raise UnusableError(
            f"{stored.reference} is another run here", hint="Fetch into another workspace, or rename its experiment"
        )
    status = read_status(target)
    if status.live:
        raise UnusableError(f"{stored.reference} is {status.status} here", hint="Stop it first, or watch it")
    events = stored.files.get("events.jsonl")
    with suppress(OSError):
        if events is None or sha256_of(target.events, events.size) == events.sha256:
            return ADDED
    loaded = Download(store, stored, {"events.jsonl": events} if events else {}, half, None)
    download(loaded, lambda _: None)
    size = target.events.stat().st_size if target.events.exists() else 0
    if size and sha256_of(half / "events.jsonl", size) != sha256_of(target.events):
        raise UnusableError(
            f"{stored.reference} went on here and on {stored.host} since they parted",
            hint="Fetch it into another workspace to have both",
        )
    return REPLACED
