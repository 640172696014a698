"""Sends a run of this process to a tracker that was given: from the run's directory, as the background process does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from kladml_core.config.secrets import mask
from kladml_core.inprocess.attempt import Ending
from kladml_core.inprocess.surroundings import Surroundings
from kladml_core.interfaces.tracker import TrackerInterface
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings
from kladml_core.tracking.outbox import enlist
from kladml_core.tracking.replay import Replay, Turn
from kladml_core.tracking.state import LOCAL, target_of, uid_of

TICK_SECONDS = 1.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
LAST_TRIES = 3
"""How often in a row a tracker may fail once the run is over, before it is given up."""
LAST_WORDS_SECONDS = 60.0
"""How long the end of a run waits for a slow tracker; MLflow's patience with a server that is away is as long."""


class TrackerFeed:
    """One run, sent in a thread of its own: training waits for nothing, and what cannot be sent now is sent later.

    Args:
        tracker: no run is open in it.
        run: the run, whose attempt has begun.
        around: its workspace.
        ending: is told, once of each kind, what goes wrong, and what the tracker has no place for.
    """

    def __init__(
        self, tracker: TrackerInterface, run: RunDirectory, attempt: int, around: Surroundings, ending: Ending
    ) -> None:
        self._tracker = tracker
        self._run = run
        self._attempt = attempt
        self._around = around
        self._ending = ending
        self._replay = Replay(run, uid_of(run) or "", tracker, target_of_given(tracker, around.settings))
        self._over = threading.Event()
        self._told: set[str] = set()
        self._complete = False
        # All calls come from this one thread: a tracker's open run may belong to a thread.
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits until the tracker has all of a run that has ended; what it has not by then, the background sends."""
        self._over.set()
        self._thread.join(LAST_WORDS_SECONDS)
        if self._complete:
            return
        same = self._replay.sent.target == target_of(self._around.written)
        then = "the background goes on with it" if same else "what it lacks is in the run's directory"
        self._ending.warn(f"the tracker has not all of the run by its end; {then}")
        if same:
            enlist(self._run, self._attempt, self._around.root)

    def _work(self) -> None:
        failures = 0
        while True:
            last = self._over.is_set()
            try:
                turn = self._replay.turn(self._attempt)
            except Exception as error:  # a tracker is somebody else's code and server; training goes on without it
                failures += 1
                self._failed(error)
                if last and failures >= LAST_TRIES:
                    self._give_up()
                    return
                pause = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - 1, 10))
            else:
                failures = 0
                self._tell_what_it_lacks()
                if turn is Turn.DONE:
                    self._complete = True
                    self._tell_what_it_refused()
                    return
                pause = 0.0 if turn is Turn.MORE else TICK_SECONDS
            if last:
                time.sleep(min(pause, TICK_SECONDS))
            else:
                self._over.wait(pause)

    def _failed(self, error: Exception) -> None:
        text = mask(f"{type(error).__name__}: {error}")
        self._replay.fail(text)
        self._tell_once(self._ending.warn, f"the tracker fails: {text}")

    def _give_up(self) -> None:
        """Leaves no run open in a tracker that may serve the next one."""
        try:
            if type(self._tracker).close is TrackerInterface.close:
                self._replay.gone()
            else:
                self._replay.close()
        except Exception as error:  # as above
            self._failed(error)

    def _tell_what_it_lacks(self) -> None:
        lacks = self._replay.sent.lacks
        if lacks:
            name = type(self._tracker).__name__
            self._tell_once(self._ending.say, f"the tracker {name} has no place for {' and '.join(lacks)}")

    def _tell_what_it_refused(self) -> None:
        count = self._replay.sent.refused_count
        if count:
            first = self._replay.sent.refused[0]
            self._ending.warn(
                f"the tracker has refused {count} records, which tracking.json lists; the first is {first}"
            )

    def _tell_once(self, tell: Callable[[str], None], text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in self._told:
            self._told.add(kind)
            tell(text)


def target_of_given(tracker: TrackerInterface, settings: Settings) -> str:
    """The name under which tracking.json says how far a run has been sent to a tracker that was given.

    For the workspace's own store and for a server it is the one that kladml.yaml would give it, so that a resume from
    the command line goes on with the same run there.
    """
    file, uri = getattr(tracker, "file", None), getattr(tracker, "uri", None)
    if isinstance(file, Path) and file.resolve() == (settings.data / "mlflow.sqlite").resolve():
        return LOCAL
    return mask(uri) if isinstance(uri, str) else f"{type(tracker).__module__}:{type(tracker).__qualname__}"
