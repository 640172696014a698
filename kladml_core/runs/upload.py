"""Uploading one run: what is new of it, in an order in which the storage never names what it has not got."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kladml_core.interfaces.storage import StorageInterface
from kladml_core.interfaces.unsupported import UnsupportedOperation
from kladml_core.runs.checkpoint_list import MANIFEST
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus, reconcile
from kladml_core.runs.stored import (
    RENEW_SECONDS,
    SECOND,
    STORED,
    Store,
    StoredCheckpoint,
    StoredFile,
    StoredRun,
    every_file,
    manifest_text,
)
from kladml_core.runs.upload_checkpoints import Chosen, committed, hold_still, missing, release
from kladml_core.runs.upload_files import (
    STAGING,
    Sent,
    Uploads,
    artifacts,
    copy_of,
    is_sent,
    records,
    sha256_of,
    stamp,
    write_uploads,
)
from kladml_core.runs.upload_manifest import kept, says_the_same, stored_of

PAUSE_SECONDS = 30.0
"""The least time between two uploads of the records of a live run of which no checkpoints are uploaded."""
_PAUSES = 20
"""The same in times of what the last one took: ten million values are no small file."""


class Vanished(Exception):
    """What was to be uploaded is gone: retention or pruning took it."""


@dataclass(frozen=True)
class Wanted:
    """What kladml.yaml wants uploaded."""

    artifacts: bool = True
    checkpoints: bool = False


class Upload:
    """A run on its way into a storage.

    Args:
        run: the run.
        uid: its uid.
        store: where it goes.
        wanted: which parts of it.
        uploads: what is there already, as uploads.json says; changed as the upload gets on.
        mine: asked between files; False ends the turn.
    """

    def __init__(
        self,
        run: RunDirectory,
        uid: str,
        store: Store,
        wanted: Wanted,
        uploads: Uploads,
        mine: Callable[[], bool] = lambda: True,
    ) -> None:
        self._run, self._uid, self._store, self._wanted = run, uid, store, wanted
        self.uploads = uploads
        self._mine = mine
        self._reference = run.reference
        self._unfit: dict[str, int] = {}
        self._seen: tuple[object, ...] | None = None
        self._pause = PAUSE_SECONDS

    def turn(self) -> bool:
        """Uploads what is new.

        Returns:
            Whether the run has ended and all of it is there.

        Raises:
            Refused: the storage holds another run under this name, or one that went on elsewhere.
            Vanished: the run's directory is gone.
            KladMLError, OSError: and whatever the storage raises; the next turn goes on from there.
        """
        status = reconcile(self._run)
        if self._run.inode is None:
            raise Vanished(self._reference)
        present = committed(self._run) if self._wanted.checkpoints else {}
        seen = (status.status, status.attempt, tuple(present.items()), status.last_checkpoint)
        if seen == self._seen and status.live and not self._late():
            return False
        stored = stored_of(self._store, self._run, self._uid, known=bool(self.uploads.files))
        if stored is None and self.uploads.manifests:
            self.uploads.files, self.uploads.manifests = {}, 0  # somebody has emptied the storage
        if self._wanted.checkpoints:
            stored = self._checkpoints(stored, status)
        elif self._seen is None or not status.live or self._records_due():
            stored = self._commit(stored, status, self._records(stored))
        if not status.live:
            stored = self._end(stored, status)
        elif self._late():
            stored = self._commit(stored, status, dict(stored.files) if stored else {})
        self._sweep(stored, status)
        if not self._mine():
            return False  # whoever is to do it now begins where this left off
        self._seen = seen
        if status.live:
            return False
        release(self._run)
        self.uploads.complete = status.attempt or 0
        self._save()
        return True

    def _checkpoints(self, stored: StoredRun | None, status: RunStatus) -> StoredRun | None:
        """Uploads the checkpoints that are missing, the newest first, each with the records of its moment."""
        news = self._seen is None or not status.live
        while self._mine():
            present = committed(self._run)
            found = missing(self._run, stored, self._unfit)
            if not found:
                self.uploads.settled = present
                break
            chosen = found[0]
            before = stored.checkpoints if stored is not None else ()
            if any(one.name == chosen.info.name for one in before) and stored is not None:
                # Its step was passed again: the old one must not be named while the new one is half there.
                others = tuple(one for one in before if one.name != chosen.info.name)
                stored = self._commit(replace(stored, checkpoints=others), status, dict(stored.files))
            uploaded = self._checkpoint(chosen)
            if uploaded is None:
                self._unfit[chosen.info.name] = chosen.changed
                continue
            stored = self._commit(stored, status, self._records(stored), uploaded)
            if uploaded.name not in {one.name for one in stored.checkpoints}:
                self._unfit[uploaded.name] = chosen.changed  # a resume has given it up
            news = not status.live
        if news:
            stored = self._commit(stored, status, self._records(stored))
        return stored

    def _checkpoint(self, chosen: Chosen) -> StoredCheckpoint | None:
        """Uploads one checkpoint; None where it is damaged, or gone before that began."""
        info = chosen.info
        held = hold_still(self._run, info)
        files: dict[str, StoredFile] = {}
        try:
            for name in (*sorted(info.sha256), MANIFEST):
                path = held / name
                size = stamp(path)
                digest = sha256_of(path)
                if size is None or digest != info.sha256.get(name, digest):
                    release(self._run, info.name)
                    return None
                files[name] = self._put(f"checkpoints/{info.name}/{name}", path, (size[0], digest or ""), size[1])
        except Exception:
            if held == info.path and not (info.path / MANIFEST).exists():
                return None  # retention was faster, and this file system knows no hard links
            raise
        release(self._run, info.name)
        return StoredCheckpoint(info.name, info.step, info.epoch, info.time, info.best, files)

    def _late(self) -> bool:
        return time.time() - self.uploads.manifest_time > RENEW_SECONDS

    def _records_due(self) -> bool:
        return time.time() - self.uploads.manifest_time > self._pause

    def _records(self, stored: StoredRun | None) -> dict[str, StoredFile]:
        """Uploads the records that have changed, beside those that a manifest names; artifacts as they were."""
        started = time.monotonic()
        named = stored.files if stored is not None else {}
        files = {name: file for name, file in named.items() if name.startswith("artifacts/")}
        for name in records(self._run):
            path, copy = self._run.path / name, self._run.path / STAGING / "records" / Path(name).name
            before = stamp(path)
            if before is None:
                continue  # a run's notes may be removed at any time
            sent = self.uploads.files.get(name)
            if sent is not None and is_sent(self._run, name, self.uploads):
                files[name] = StoredFile(sent.key, sent.size, sent.sha256)
                continue
            try:
                content = copy_of(path, copy)
                known = named.get(name)
                if known is not None and (known.size, known.sha256) == content:
                    self._remember(name, known, before[1], "")
                    files[name] = known
                else:
                    second = known is not None and known.key == name
                    key = f"{SECOND}/{name}" if second else name
                    files[name] = self._put(name, copy, content, before[1], key=key)
            finally:
                copy.unlink(missing_ok=True)
        self._pause = max(PAUSE_SECONDS, _PAUSES * (time.monotonic() - started))
        return files

    def _end(self, stored: StoredRun | None, status: RunStatus) -> StoredRun | None:
        """Uploads the artifacts of a run that has ended, which are committed by its end."""
        if not self._wanted.artifacts or stored is None:
            return stored
        files = {name: file for name, file in stored.files.items() if not name.startswith("artifacts/")}
        names = artifacts(self._run)
        same = {name for name in names if name in stored.files and is_sent(self._run, name, self.uploads)}
        there = {name: stored.files[name] for name in same}
        if len(files) + len(there) < len(stored.files):
            # An earlier attempt's: they are written over, so for that time they are not named.
            stored = self._commit(stored, status, {**files, **there})
        for name in names:
            path = self._run.path / name
            before = stamp(path)
            if name in there or before is None:
                continue
            digest = sha256_of(path)
            there[name] = self._put(name, path, (before[0], digest or ""), before[1])
        return self._commit(stored, status, {**files, **there}) if there else stored

    def _put(
        self, name: str, path: Path, content: tuple[int, str], changed: int, *, key: str | None = None
    ) -> StoredFile:
        """Uploads a file, unless it is known to be there, and notes that it is.

        Args:
            name: below the run's directory.
            path: what is uploaded, which nobody writes to any more.
            content: its size and hash.
            changed: when the run's own file had changed last.
            key: below the run's place; its name unless given.
        """
        sent = self.uploads.files.get(name)
        if sent is not None and (sent.size, sent.sha256) == content and sent.key == (key or name):
            return StoredFile(sent.key, sent.size, sent.sha256)
        file = StoredFile(key or name, *content)
        whole = self._store.key(self._reference, file.key)
        if whole in self.uploads.unwanted:
            self.uploads.unwanted.remove(whole)
            self._save()
        address = self._store.storage.upload_file(str(path), self._store.bucket, whole)
        self._remember(name, file, changed, str(address))
        return file

    def _remember(self, name: str, file: StoredFile, changed: int, address: str) -> None:
        self.uploads.files[name] = Sent(file.key, file.size, file.sha256, changed, address, time.time())
        self._save()

    def _commit(
        self,
        stored: StoredRun | None,
        status: RunStatus,
        files: dict[str, StoredFile],
        checkpoint: StoredCheckpoint | None = None,
    ) -> StoredRun:
        """Stores a manifest, from which moment on all that it names counts, and what it no longer names is unwanted."""
        before = stored.checkpoints if stored is not None else ()
        union = {one.name: one for one in (*before, *([checkpoint] if checkpoint else []))}
        deletes = type(self._store.storage).delete_file is not StorageInterface.delete_file
        now = StoredRun(
            reference=self._reference,
            uid=self._uid,
            status=status.status,
            live=status.live,
            attempt=status.attempt or 0,
            step=status.step,
            host=status.host or "",
            heartbeat=status.heartbeat,
            time=time.time(),
            created=status.created,
            files=files,
            checkpoints=kept(self._run, union, deletes=deletes),
        )
        if stored is not None and says_the_same(stored, now) and (not self._late() or not now.live):
            return stored
        named = {file.key for file in every_file(now)}
        old = {file.key for one in union.values() for file in one.files.values()}
        gone = (old | {file.key for file in stored.files.values()} if stored is not None else old) - named
        self.uploads.files = {name: sent for name, sent in self.uploads.files.items() if sent.key not in gone}
        keys = {self._store.key(self._reference, key) for key in gone}
        self.uploads.unwanted = sorted({*self.uploads.unwanted, *keys})
        self._save()
        path = self._run.path / STAGING / STORED
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(manifest_text(now))
        self._store.storage.upload_file(str(path), self._store.bucket, self._store.key(self._reference, STORED))
        path.unlink(missing_ok=True)
        self.uploads.manifests += 1
        self.uploads.manifest_time = now.time
        self._save()
        return now

    def _sweep(self, stored: StoredRun | None, status: RunStatus) -> None:
        """Deletes what the manifest does not name any more, where the storage can do that.

        Of a live run only checkpoints: an older text of a record is soon written over by a newer one.
        """
        # A process that was killed between noting them and storing the manifest has left keys that it still names.
        named = {self._store.key(self._reference, file.key) for file in every_file(stored)} if stored else set()
        checkpoints = self._store.key(self._reference, "checkpoints/")
        while self._mine() and (
            unwanted := [
                key
                for key in self.uploads.unwanted
                if key not in named and (not status.live or key.startswith(checkpoints))
            ]
        ):
            try:
                self._store.storage.delete_file(self._store.bucket, unwanted[-1])
            except UnsupportedOperation:
                self.uploads.unwanted.clear()
                break
            self.uploads.unwanted.remove(unwanted[-1])
            self._save()

    def _save(self) -> None:
        # On a full disk an upload is not noted, and made once more; it is the run that needs the space.
        with suppress(OSError):
            write_uploads(self._run, self.uploads)
