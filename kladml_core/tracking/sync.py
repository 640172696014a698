"""`python -m kladml_core.tracking.sync WORKSPACE`: sends the listed runs to the tracker, and ends when all is sent.

At most one of these runs for a workspace on a host. It may be killed at any moment: tracking.json says from where the
next one goes on.
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
from kladml_core.errors import KladMLError
from kladml_core.interfaces.tracker import TrackerInterface
from kladml_core.runs.background import log, work_off
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.turns import CurrentSettings, Turns
from kladml_core.settings import Settings, load_settings
from kladml_core.tracking.outbox import PROCESS, Listed, add, listed, take_off
from kladml_core.tracking.replay import Replay, RunGone, Turn
from kladml_core.tracking.state import read_sent, target_of, uid_of, with_error, write_sent

TICK_SECONDS = 1.0
"""How often a live run is looked at."""
AT_ONCE = 3
"""Runs that are sent side by side: a large file of one holds up no other."""
LONGEST_WAIT = 300.0
"""Seconds between two turns of a run that fail."""
TURN_PATIENCE = 10.0
"""Seconds that a turn waits for a server which is away; then other runs and other settings have theirs."""
NICENESS = 10
_HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own retries would hide for minutes that a server is away; here is what tries again."""


@dataclass
class Job:
    """One listed run as it is being worked on."""

    entry: Listed
    replay: Replay | None = None
    turn: Future[Turn] | None = None
    turns: Turns = field(default_factory=Turns)


class Sync:
    """Works off the list of a workspace.

    Args:
        settings: of the workspace; looked at again when kladml.yaml changes.
        make: makes a tracker from settings.
    """

    def __init__(self, settings: Settings, make: Callable[[Settings], TrackerInterface | None]) -> None:
        self._current = CurrentSettings(settings)
        self._make = make
        self._pool = ThreadPoolExecutor(AT_ONCE, "sync")
        self._jobs: dict[str, Job] = {}

    @property
    def _settings(self) -> Settings:
        return self._current.now

    def left(self) -> bool:
        """Whether anything is listed that this process would still work on."""
        if target_of(self._settings) is None:
            return False
        return any(not self._is_parked(entry) for entry in listed(self._settings.data))

    def work(self, mine: Callable[[], bool]) -> None:
        """Returns when nothing is left to send, or when it is not `mine`."""
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
        for job in self._jobs.values():
            self._drop_replay(job)

    def _is_parked(self, entry: Listed) -> bool:
        job = self._jobs.get(entry.uid)
        return job is not None and job.turns.parked and job.entry.files == entry.files

    def _reread_settings(self) -> None:
        before = target_of(self._settings)
        self._current.look()
        if target_of(self._settings) != before:
            log(f"the tracker is {target_of(self._settings)} from now on, it was {before}")
            for job in self._jobs.values():
                job.turns.at_once()
                if job.turn is None:
                    self._drop_replay(job)

    def _take_up(self) -> None:
        """Gives each listed run that is due its next turn; the pool works them off in turn, so none waits for ever."""
        target = target_of(self._settings)
        now = time.monotonic()
        for entry in listed(self._settings.data) if target is not None else []:
            job = self._jobs.setdefault(entry.uid, Job(entry))
            if job.entry.files != entry.files:
                job.turns.at_once()  # listed anew
            job.entry = entry
            if job.turn is None and not job.turns.parked and now >= job.turns.due:
                job.turn = self._pool.submit(self._turn, job, str(target))

    def _turn(self, job: Job, target: str) -> Turn:
        """In the pool: one turn of one run."""
        if job.replay is None or job.replay.sent.target != target:
            self._drop_replay(job)
            tracker = self._make(self._settings)
            if tracker is None:
                return Turn.UP_TO_DATE  # switched off at this moment
            tracker.patience = min(tracker.patience, TURN_PATIENCE)
            job.replay = Replay(job.entry.run, job.entry.uid, tracker, target)
        return job.replay.turn(job.entry.attempt)

    def _settle(self, job: Job, turn: Future[Turn]) -> None:
        job.turn = None
        try:
            left = turn.result()
        except RunGone:
            self._find_again(job)
        except Exception as error:  # a tracker is somebody else's code and server: it may raise anything, and pass
            self._failed(job, error)
        else:
            if job.turns.failures:
                log(f"{job.entry.run.reference} goes on")
            job.turns.went_well(0.0 if left is Turn.MORE else TICK_SECONDS)
            if left is Turn.DONE:
                log(f"{job.entry.run.reference} is sent")
                take_off(job.entry.files)
                del self._jobs[job.entry.uid]

    def _failed(self, job: Job, error: Exception) -> None:
        text = mask(f"{error}" if isinstance(error, KladMLError) else f"{type(error).__name__}: {error}")
        pause = job.turns.failed(LONGEST_WAIT)
        then = "tried again at the next launch" if job.turns.parked else f"tried again in {pause:.0f} s"
        log(f"{job.entry.run.reference}: {text} ({then})")
        if job.replay is not None:
            job.replay.fail(text)
            return
        target = target_of(self._settings)
        if target is not None:
            sent = read_sent(job.entry.run, job.entry.uid, target)
            with suppress(OSError):  # the directory may be gone, which the next turn finds out
                write_sent(job.entry.run, with_error(sent, text))

    def _find_again(self, job: Job) -> None:
        """Goes on with a run that was moved; one that is gone is let go."""
        entry = job.entry
        moved = next((path for path in all_runs(self._settings.data) if uid_of(RunDirectory(path)) == entry.uid), None)
        del self._jobs[entry.uid]
        if moved is not None:
            self._drop_replay(job)
            log(f"{entry.run.reference} is {RunDirectory(moved).reference} now")
            with suppress(OSError):  # then it is looked for again
                add(self._settings, RunDirectory(moved), entry.attempt)
            return
        log(f"{entry.run.reference} is gone; what was not sent of it is not sent")
        take_off(entry.files)
        if job.replay is not None:
            try:
                job.replay.gone()
            except Exception as error:  # as above; there is nothing left to try again with
                log(f"{entry.run.reference} cannot be ended in the tracker: {error}")

    def _drop_replay(self, job: Job) -> None:
        replay, job.replay = job.replay, None
        if replay is not None:
            try:
                replay.close()
            except Exception as error:  # as above
                log(f"{job.entry.run.reference}: {error}")


def main(workspace: Path) -> None:
    """Works while there is work; leaves at once where another process does it already."""

    def begin() -> Sync:
        with suppress(OSError):
            os.nice(NICENESS)
        settings = load_settings(workspace)
        os.chdir(settings.root)  # a tracker of the person's own lies there
        sys.path.append(str(settings.root))
        from kladml_core.backends.choose import make_tracker

        for name, value in _HTTP.items():
            os.environ.setdefault(name, value)
        return Sync(settings, make_tracker)

    work_off(load_settings(workspace).data, PROCESS, begin)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
