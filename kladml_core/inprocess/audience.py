"""Who hears of a run in this process: publishers and trackers, fed from the run directory, never from training."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.interfaces.tracker import TrackerInterface
from kladml_core.runs.events import TERMINAL_KINDS
from kladml_core.runs.follow import RunFollower
from kladml_core.runs.rundir import RunDirectory

LAST_WORDS_SECONDS = 60.0
"""How long the end of a run waits for a slow publisher or tracker to have heard of it."""
TRACKER_STATUS = {"run_finished": "FINISHED", "run_failed": "FAILED", "run_stopped": "KILLED"}


class Audience:
    """Listeners of one attempt, each with a follower of its own: what one does or fails to do touches nobody else.

    Args:
        attempt: messages of earlier attempts are no news.
        since: unix time at which this attempt began.
        warn: told once a listener, from another thread, that it fails.
    """

    def __init__(self, run: RunDirectory, attempt: int, since: float, warn: Callable[[str], None]) -> None:
        self._run = run
        self._attempt = attempt
        self._since = since
        self._warn = warn
        self._followers: list[tuple[RunFollower, _Guarded]] = []

    def add(self, listener: PublisherInterface, name: str) -> None:
        """Begins to publish the run's messages to a listener."""
        guarded = _Guarded(listener, name, self._attempt, self._since, self._warn)
        follower = RunFollower(guarded, curves=False)
        follower.start()
        follower.follow(self._run)
        self._followers.append((follower, guarded))

    def close(self) -> None:
        """Waits until each listener has heard of the run's end, and lets it go."""
        for follower, guarded in self._followers:
            guarded.over.wait(LAST_WORDS_SECONDS)
            if guarded.over.is_set():
                follower.close()
            guarded.close()


class TrackerFeed(PublisherInterface):
    """Hands a run's messages to a tracker, in a thread of its own: a slow tracker loses nothing and delays nobody.

    Args:
        experiment: the experiment's name in the tracker, project/family/experiment.
        params: the config; recorded once, with dotted keys.
    """

    def __init__(
        self, tracker: TrackerInterface, experiment: str, params: Mapping[str, Any], warn: Callable[[str], None]
    ) -> None:
        self._tracker = tracker
        self._experiment = experiment
        self._params = _flat(params)
        self._warn = warn
        self._messages: queue.SimpleQueue[tuple[str, dict[str, Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Keeps the message for the tracker's thread."""
        self._messages.put((channel, message))

    def close(self) -> None:
        """Waits until the tracker has taken everything."""
        self._messages.put(None)
        self._thread.join(LAST_WORDS_SECONDS)
        if self._thread.is_alive():
            self._warn(f"the tracker has not taken everything after {LAST_WORDS_SECONDS:.0f} s")

    def _work(self) -> None:
        # All calls come from this one thread: MLflow's open run belongs to a thread.
        opened = ended = told = False
        while (item := self._messages.get()) is not None:
            if ended:
                continue
            channel, message = item
            try:
                if not opened:
                    self._tracker.start_run(self._experiment, str(message["run"]))
                    opened = True
                    self._tracker.log_params(self._params)
                if channel == "metrics":
                    for name, value in message["values"].items():
                        self._tracker.log_metric(name, value, message["step"])
                elif channel == "events" and message.get("kind") in TERMINAL_KINDS:
                    ended = True
                    self._tracker.end_run(TRACKER_STATUS[message["kind"]])
            except Exception as error:  # a tracker is somebody else's code and server; training goes on without it
                ended = ended or not opened
                if not told:
                    told = True
                    self._warn(f"the tracker fails: {type(error).__name__}: {error}")


class _Guarded(PublisherInterface):
    """A listener whose exceptions are counted and told once."""

    def __init__(
        self, listener: PublisherInterface, name: str, attempt: int, since: float, warn: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._name = name
        self._attempt = attempt
        self._since = since
        self._warn = warn
        self.failures = 0
        self.over = threading.Event()
        """Set once the run's end has been handed over."""

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Hands on what is news."""
        ended = channel == "events" and message.get("kind") in TERMINAL_KINDS
        if channel == "metrics" and message.get("time", self._since) < self._since:
            return
        if channel == "events" and message.get("attempt", self._attempt) < self._attempt:
            return
        self._try(lambda: self._listener.publish(channel, message))
        if ended:
            self.over.set()

    def close(self) -> None:
        """Lets the listener finish, where it has anything to finish."""
        for name in ("flush", "close"):
            finish = getattr(self._listener, name, None)
            # A publisher that was given belongs to whoever gave it, and may serve the next run.
            if callable(finish) and (name == "flush" or isinstance(self._listener, TrackerFeed)):
                self._try(finish)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # a publisher may raise anything, and training is not to feel it
            self.failures += 1
            if self.failures == 1:
                self._warn(f"{self._name} fails: {type(error).__name__}: {error}")


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        found.update(_flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value})
    return found
