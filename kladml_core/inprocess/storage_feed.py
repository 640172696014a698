"""Uploads a run of this process into a storage that was given, as the background process does for launched runs."""

from __future__ import annotations

from contextlib import suppress

from kladml_core.inprocess.attempt import Ending
from kladml_core.inprocess.feed import TICK_SECONDS, Feed
from kladml_core.inprocess.surroundings import Surroundings
from kladml_core.interfaces.storage import StorageInterface
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import Store
from kladml_core.runs.upload import Upload, Wanted
from kladml_core.runs.upload_checkpoints import release
from kladml_core.runs.upload_files import read_uploads, write_uploads
from kladml_core.runs.uploads import uid_of


class StorageFeed(Feed):
    """One run on its way into a storage: its artifacts, and with `storage.upload.checkpoints` its checkpoints.

    Args:
        storage: takes the files.
        run: the run.
        around: its workspace, whose settings name bucket, prefix and what is uploaded.
        ending: is told what goes wrong.
    """

    def __init__(self, storage: StorageInterface, run: RunDirectory, around: Surroundings, ending: Ending) -> None:
        # However long a large file takes: whoever gave a storage wants it there when the run is over.
        super().__init__("the storage", ending, patience=None)
        self._run = run
        settings = around.settings.storage
        bucket, prefix = settings.bucket, settings.prefix or ""
        target = f"{type(storage).__module__}:{type(storage).__qualname__} {bucket}/{prefix.strip('/')}"
        uid = uid_of(run) or ""
        wanted = Wanted(settings.upload.artifacts, settings.upload.checkpoints)
        uploads = read_uploads(run, target, uid)
        self._upload = Upload(run, uid, Store(storage, bucket, prefix), wanted, uploads)

    def _turn(self) -> float | None:
        done = self._upload.turn()
        if self._upload.uploads.error is not None:
            self._upload.uploads.recover()
            self._write()
        return None if done else TICK_SECONDS

    def _note(self, text: str) -> None:
        self._upload.uploads.fail(text)
        self._write()

    def _let_go(self) -> None:
        release(self._run)

    def _write(self) -> None:
        with suppress(OSError):  # a full disk; the person is told by an event, or after the end by a warning
            write_uploads(self._run, self._upload.uploads)
