"""`python -m kladml_core.runs.uploads_process WORKSPACE`: uploads the listed runs, and ends when everything is there.

At most one of these runs for a workspace on a host. It may be killed at any moment: uploads.json says from which file
the next one goes on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kladml_core.config.secrets import mask
from kladml_core.errors import ConfigError, KladMLError
from kladml_core.runs.background import log, work_off
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import Store
from kladml_core.runs.turns import CurrentSettings, Turns
from kladml_core.runs.upload import Upload, Vanished, Wanted
from kladml_core.runs.upload_files import read_uploads, write_uploads
from kladml_core.runs.upload_manifest import Refused
from kladml_core.runs.uploads import PROCESS, Listed, add, is_wanted, listed, store_of, target_of, uid_of
from kladml_core.settings import Settings, load_settings

TICK_SECONDS = 1.0
"""How often a live run is looked at."""
AT_ONCE = 3
"""Runs that are uploaded side by side: a large checkpoint of one holds up no other."""
LONGEST_WAIT = 60.0
"""Seconds between two turns of a run that fail."""
NICENESS = 10


@dataclass
class Job:
    """One listed run as it is being worked on."""

    entry: Listed
    upload: Upload | None = None
    turn: Future[bool] | None = None
    turns: Turns = field(default_factory=Turns)


class Uploading:
    """Works off the list of a workspace.

    Args:
        settings: of the workspace; looked at again when kladml.yaml changes.
        make: makes the storage that settings name.
    """

    def __init__(self, settings: Settings, make: Callable[[Settings], Store | None]) -> None:
        self._current = CurrentSettings(settings)
        self._make = make
        self._pool = ThreadPoolExecutor(AT_ONCE, "upload")
        self._jobs: dict[str, Job] = {}
        self._mine: Callable[[], bool] = lambda: True

    @property
    def _settings(self) -> Settings:
        return self._current.now

    def left(self) -> bool:
        """Whether anything is listed that this process would still work on."""
        return is_wanted(self._settings) and any(not self._is_parked(entry) for entry in listed(self._settings.data))

    def work(self, mine: Callable[[], bool]) -> None:
        """Returns when nothing is left to upload, or when it is not `mine`."""
        self._mine = mine
        while mine():
            self._reread_settings()
            self._take_up()
            busy = [job.turn for job in self._jobs.values() if job.turn is not None]
            if not busy and not self.left():
                return
            wait(busy, TICK_SECONDS, FIRST_COMPLETED) if busy else time.sleep(TICK_SECONDS)
            for job in list(self._jobs.values()):
                if job.turn is not None and job.turn.done():
                    self._settle(job, job.turn)
        wait([job.turn for job in self._jobs.values() if job.turn is not None])

    def _is_parked(self, entry: Listed) -> bool:
        job = self._jobs.get(entry.uid)
        return job is not None and job.turns.parked and job.entry.version == entry.version

    def _reread_settings(self) -> None:
        before = (target_of(self._settings), self._settings.storage.upload)
        self._current.look()
        if (target_of(self._settings), self._settings.storage.upload) != before:
            log(f"what is uploaded, or where to, has changed: {target_of(self._settings)}")
            for job in self._jobs.values():
                job.turns.at_once()
                if job.turn is None:
                    job.upload = None

    def _take_up(self) -> None:
        """Gives each listed run that is due its next turn; the pool works them off in turn, so none waits for ever."""
        now = time.monotonic()
        for entry in listed(self._settings.data) if is_wanted(self._settings) else []:
            job = self._jobs.setdefault(entry.uid, Job(entry))
            if job.turn is not None:
                continue
            if job.entry.version != entry.version:
                job.turns.at_once()  # listed anew
                job.upload = None
            job.entry = entry
            if not job.turns.parked and now >= job.turns.due:
                job.turn = self._pool.submit(self._turn, job)

    def _turn(self, job: Job) -> bool:
        """In the pool: one turn of one run."""
        settings, entry = self._settings, job.entry
        if job.upload is None:
            # One for each run: a storage of somebody's own need not bear several threads.
            store = self._make(settings)
            if store is None:
                return False  # switched off at this moment
            wanted = Wanted(settings.storage.upload.artifacts, settings.storage.upload.checkpoints)
            uploads = read_uploads(entry.run, target_of(settings), entry.uid)
            job.upload = Upload(entry.run, entry.uid, store, wanted, uploads, self._mine)
        if uid_of(entry.run) != entry.uid:
            raise Vanished(entry.run.reference)
        done = job.upload.turn()
        if job.upload.uploads.error is not None:
            job.upload.uploads.recover()
            with suppress(OSError):  # noted with the next file
                write_uploads(entry.run, job.upload.uploads)
        return done

    def _settle(self, job: Job, turn: Future[bool]) -> None:
        job.turn = None
        try:
            done = turn.result()
        except Vanished:
            self._find_again(job)
        except Exception as error:  # a storage is somebody else's code and server: it may raise anything, and pass
            self._failed(job, error)
        else:
            if job.turns.failures:
                log(f"{job.entry.run.reference} goes on")
            job.turns.went_well(TICK_SECONDS)
            if done:
                log(f"{job.entry.run.reference} is uploaded")
                self._take_off(job.entry)

    def _failed(self, job: Job, error: Exception) -> None:
        if uid_of(job.entry.run) != job.entry.uid:
            self._find_again(job)
            return
        refused = isinstance(error, (Refused, ConfigError))
        text = mask(f"{error}" if isinstance(error, KladMLError) else f"{type(error).__name__}: {error}")
        pause = job.turns.failed(LONGEST_WAIT, refused=refused)
        then = "left alone" if job.turns.parked else f"tried again in {pause:.0f} s"
        log(f"{job.entry.run.reference}: {text} ({then})")
        uploads = job.upload.uploads if job.upload is not None else None
        if uploads is None:
            uploads = read_uploads(job.entry.run, target_of(self._settings), job.entry.uid)
        uploads.fail(text, refused=job.turns.parked)
        with suppress(OSError):  # the log says it
            write_uploads(job.entry.run, uploads)

    def _find_again(self, job: Job) -> None:
        """Goes on with a run that was moved; one that is gone is let go."""
        entry = job.entry
        moved = next((path for path in all_runs(self._settings.data) if uid_of(RunDirectory(path)) == entry.uid), None)
        if moved is None or moved == entry.run.path:
            log(f"{entry.run.reference} is gone; what was not uploaded of it is not uploaded")
            self._take_off(entry)
            return
        log(f"{entry.run.reference} is {RunDirectory(moved).reference} now; it is uploaded under that name")
        job.upload = None
        with suppress(OSError):  # then it is looked for again
            add(self._settings, RunDirectory(moved), max(int(file.stem.rpartition("-")[2]) for file in entry.files))

    def _take_off(self, entry: Listed) -> None:
        """Takes the attempts off the list that were on it when the turn began: another may have been listed since."""
        for file in entry.files:
            file.unlink(missing_ok=True)
        del self._jobs[entry.uid]


def main(workspace: Path) -> None:
    """Works while there is work; leaves at once where another process does it already."""

    def begin() -> Uploading:
        with suppress(OSError):
            os.nice(NICENESS)
        return Uploading(load_settings(workspace), store_of)

    work_off(load_settings(workspace).data, PROCESS, begin)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
