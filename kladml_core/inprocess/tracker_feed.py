"""Sends a run of this process to a tracker that was given: from the run's directory, as the background process does."""

from __future__ import annotations

from pathlib import Path

from kladml_core.config.secrets import mask
from kladml_core.inprocess.attempt import Ending
from kladml_core.inprocess.feed import TICK_SECONDS, Feed
from kladml_core.inprocess.surroundings import Surroundings
from kladml_core.interfaces.tracker import TrackerInterface
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings
from kladml_core.tracking.outbox import enlist
from kladml_core.tracking.replay import Replay, Turn
from kladml_core.tracking.state import LOCAL, target_of, uid_of

PATIENCE_SECONDS = 60.0
"""How long the end of a run waits for a turn; MLflow's own patience with a server that is away is as long."""


class TrackerFeed(Feed):
    """One run on its way into a tracker.

    Args:
        tracker: no run is open in it.
        run: the run.
        around: its workspace.
        ending: is told what goes wrong, what the tracker has no place for, and what it has refused.
    """

    def __init__(
        self, tracker: TrackerInterface, run: RunDirectory, attempt: int, around: Surroundings, ending: Ending
    ) -> None:
        super().__init__("the tracker", ending, patience=PATIENCE_SECONDS)
        self._tracker = tracker
        self._run = run
        self._attempt = attempt
        self._around = around
        self._replay = Replay(run, uid_of(run) or "", tracker, target_of_given(tracker, around.settings))

    def _turn(self) -> float | None:
        turn = self._replay.turn(self._attempt)
        sent = self._replay.sent
        if sent.lacks:
            lacks = f"the tracker {type(self._tracker).__name__} has no place for {' and '.join(sent.lacks)}"
            self._tell_once(self._ending.say, "lacks", lacks)
        if turn is not Turn.DONE:
            return 0.0 if turn is Turn.MORE else TICK_SECONDS
        if sent.refused_count:
            told = f"the tracker has refused {sent.refused_count} records, which tracking.json lists"
            self._ending.warn(f"{told}; the first is {sent.refused[0]}")
        return None

    def _note(self, text: str) -> None:
        self._replay.fail(text)

    def _let_go(self) -> None:
        # It may serve the next run, and holds one at a time.
        if type(self._tracker).close is TrackerInterface.close:
            self._replay.gone()
        else:
            self._replay.close()

    def _hand_over(self) -> bool:
        if self._replay.sent.target != target_of(self._around.written):
            return False
        enlist(self._run, self._attempt, self._around.root)
        return True


def target_of_given(tracker: TrackerInterface, settings: Settings) -> str:
    """The name under which tracking.json says how far a run has been sent to a tracker that was given.

    For the workspace's own store and for a server it is the one that kladml.yaml would give it, so that a resume from
    the command line goes on with the same run there.
    """
    file, uri = getattr(tracker, "file", None), getattr(tracker, "uri", None)
    if isinstance(file, Path) and file.resolve() == (settings.data / "mlflow.sqlite").resolve():
        return LOCAL
    return mask(uri) if isinstance(uri, str) else f"{type(tracker).__module__}:{type(tracker).__qualname__}"
