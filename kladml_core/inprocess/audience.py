"""Who hears of a run in this process: publishers, fed from the run directory, never from training."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.runs.events import TERMINAL_KINDS
from kladml_core.runs.follow import RunFollower
from kladml_core.runs.rundir import RunDirectory

LAST_WORDS_SECONDS = 60.0
"""How long the end of a run waits for a slow publisher to have heard of it."""


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
        """Lets the listener print what it holds back; it belongs to whoever gave it, and may serve the next run."""
        flush = getattr(self._listener, "flush", None)
        if callable(flush):
            self._try(flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # a publisher may raise anything, and training is not to feel it
            self.failures += 1
            if self.failures == 1:
                self._warn(f"{self._name} fails: {type(error).__name__}: {error}")
