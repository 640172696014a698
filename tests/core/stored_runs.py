"""Storages that count, break or forget on demand, and runs on their way into them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kladml_core.backends.local_storage import LocalStorage
from kladml_core.errors import UnusableError
from kladml_core.interfaces import StorageInterface
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import Store, StoredRun
from kladml_core.runs.upload import Upload, Wanted
from kladml_core.runs.upload_files import read_uploads

BUCKET = "runs"
TARGET = "a storage of the tests"
ALL = Wanted(artifacts=True, checkpoints=True)


class Counting(LocalStorage):
    """Local files; remembers what was stored, and is away from the upload on that `away_from` names.

    Args:
        root: its directory.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.stored: list[str] = []
        self.away_from: int | None = None
        self.before: Callable[[str], None] = lambda key: None

    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        self.before(key)
        if self.away_from is not None and len(self.stored) >= self.away_from:
            raise UnusableError("the server is away")
        self.stored.append(key)
        return super().upload_file(local_path, bucket, key)


class ThreeMethods(StorageInterface):
    """Somebody's own storage with the three obligatory methods and no more."""

    def __init__(self, root: Path) -> None:
        self._local = LocalStorage(root)

    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        return self._local.upload_file(local_path, bucket, key)

    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        return self._local.download_file(bucket, key, local_path)

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        return self._local.list_files(bucket, prefix)


def upload_of(run: RunDirectory, store: Store, wanted: Wanted = ALL) -> Upload:
    """An upload as a process that has just begun makes it."""
    uid = uid_of(run)
    return Upload(run, uid, store, wanted, read_uploads(run, TARGET, uid))


def uid_of(run: RunDirectory) -> str:
    return str((run.read_run() or {})["uid"])


def stored(store: Store, run: RunDirectory) -> StoredRun:
    """What the storage says of a run."""
    found = store.read(run.reference)
    assert found is not None
    return found


def names(found: StoredRun) -> list[int]:
    """The steps of the checkpoints that a manifest names."""
    return [one.step for one in found.checkpoints]


def write_event(run: RunDirectory, kind: str, **fields: Any) -> None:
    """Adds an event as the worker would."""
    with run.events.open("a") as file:
        file.write(json.dumps({"v": 1, "attempt": 1, "time": time.time(), "kind": kind, **fields}) + "\n")


def whole(store: Store, run: RunDirectory) -> set[str]:
    """The keys below a run's place."""
    start = store.key(run.reference, "")
    return {key.removeprefix(start) for key in store.storage.list_files(store.bucket, start)}
