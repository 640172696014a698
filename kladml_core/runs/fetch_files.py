"""Downloading a run's files into a directory beside it, each held against its size and hash."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kladml_core.errors import KladMLError, UnusableError
from kladml_core.runs.checkpoint_list import verify
from kladml_core.runs.stored import Store, StoredFile, StoredRun
from kladml_core.runs.upload_files import sha256_of, stamp


class Moved(Exception):
    """The run was stored anew while it was fetched."""

    def __init__(self, stored: StoredRun) -> None:
        super().__init__(stored.reference)
        self.stored = stored


@dataclass(frozen=True)
class Download:
    """What is downloaded, and where to."""

    store: Store
    stored: StoredRun
    files: Mapping[str, StoredFile]
    """Path below the run's directory → what it must be."""
    directory: Path
    here: Path | None
    """The run's directory where it is here already: what is the same in it need not be downloaded."""


@dataclass(frozen=True)
class Progress:
    """How far a fetch has got."""

    file: str
    """What is downloaded next."""
    files: int
    """How many are there."""
    of_files: int
    bytes: int
    of_bytes: int
    directory: Path
    """Where they are written: what is under way grows there."""


@dataclass(frozen=True)
class Loaded:
    """What was downloaded."""

    files: int
    bytes: int


def download(what: Download, progress: Callable[[Progress], None]) -> Loaded:
    """Downloads what is missing, the checkpoints last.

    Raises:
        Moved: the run was stored anew meanwhile.
        UnusableError: a file is damaged in the storage.
        OSError: it cannot be written.
        KladMLError: whatever the storage raises.
    """
    names = sorted(what.files, key=lambda name: (name.startswith("checkpoints/"), name))
    of_bytes = sum(file.size for file in what.files.values())
    loaded = done = files = 0
    for name in names:
        file, path = what.files[name], what.directory / name
        progress(Progress(name, names.index(name), len(names), done, of_bytes, what.directory))
        done += file.size
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is(path, file) or (what.here is not None and _taken_from(what.here / name, path, file)):
            continue
        _get(what, file, path)
        loaded, files = loaded + file.size, files + 1
    for checkpoint in sorted({name.split("/")[1] for name in names if name.startswith("checkpoints/")}):
        problem = verify(what.directory / "checkpoints" / checkpoint)
        if problem is not None:
            raise UnusableError(f"{checkpoint} is damaged in the storage: {problem}", hint="Fetch another one")
    progress(Progress("", len(names), len(names), of_bytes, of_bytes, what.directory))
    return Loaded(files, loaded)


def _get(what: Download, file: StoredFile, path: Path) -> None:
    store, reference = what.store, what.stored.reference
    key = store.key(reference, file.key)
    failure: KladMLError | None = None
    try:
        store.storage.download_file(store.bucket, key, str(path))
    except KladMLError as error:
        failure = error
    if failure is None and _is(path, file):
        return
    path.unlink(missing_ok=True)
    # What a manifest names stays until another manifest is stored: whoever stored that one wrote over this file.
    now = store.read(reference)
    if now is not None and now != what.stored and now.uid == what.stored.uid:
        raise Moved(now)
    if failure is not None:
        raise failure
    raise UnusableError(
        f"{store.bucket}/{key} is damaged: it is not what was stored", hint="Its run stores it anew when it goes on"
    )


def _taken_from(here: Path, path: Path, file: StoredFile) -> bool:
    """Takes a file from the run that is here, where it is the same."""
    if not _is(here, file):
        return False
    path.unlink(missing_ok=True)
    if path.parts[-3] == "checkpoints":
        link_or_copy(here, path)  # never written to again, so both may be one
    else:
        shutil.copyfile(here, path)
    return True


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Gives a file a second name, or makes a copy where the file system knows none.

    Raises:
        OSError: neither can be done.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _is(path: Path, file: StoredFile) -> bool:
    seen = stamp(path)
    return seen is not None and seen[0] == file.size and sha256_of(path) == file.sha256
