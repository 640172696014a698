"""The screen's end of following: one follower, one subscription, drained on a timer into frozen snapshots.

Importing this module is cheap; the follower needs numpy and is made by `open`, in a thread after the first frame.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_core.backends.queue_publisher import Subscription
    from kladml_core.runs.follow import RunFollower, RunSnapshot
    from kladml_core.runs.rundir import RunDirectory

_NEWS = frozenset({"run_finished", "run_failed", "run_stopped", "run_lost", "non_finite"})
KEPT = 4
"""Ended runs whose curves stay at hand after the person went on to another."""


@dataclass(frozen=True)
class Batch:
    """What has come since the last drain."""

    changed: frozenset[str] = frozenset()
    """References of the runs that have a newer snapshot."""
    statuses: tuple[dict[str, Any], ...] = ()
    """Status messages, oldest first."""
    news: tuple[dict[str, Any], ...] = ()
    """Terminal events, and those that a person wants to hear of at once, oldest first."""
    checkpoints: frozenset[str] = frozenset()
    """References of the runs whose checkpoints changed."""


class Monitor:
    """Follows the run on the screen closely and the live ones from afar. All methods but `open` return at once."""

    def __init__(self) -> None:
        self._follower: RunFollower | None = None
        self._subscription: Subscription | None = None
        self._shown: RunDirectory | None = None
        self._live: dict[str, RunDirectory] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._versions: dict[str, int] = {}
        self._stalled: set[str] = set()
        self._failures = 0
        self._closed = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether the follower runs."""
        return self._follower is not None

    def open(self) -> None:
        """Loads what following needs and starts it. Takes a few tenths of a second: call it in a thread."""
        import kladml_core.runs.tail  # noqa: F401  so that the first `follow`, on the screen's thread, loads nothing
        from kladml_core.backends.queue_publisher import QueuePublisher
        from kladml_core.runs.follow import RunFollower

        publisher = QueuePublisher()
        self._subscription = publisher.subscribe()
        follower = RunFollower(publisher)
        follower.start()
        self._follower = follower
        if self._closed.is_set():
            self.close()

    def begin(self) -> None:
        """Follows what was asked for before the follower was there."""
        if self._follower is None:
            return
        for run in self._live.values():
            self._follower.follow(run, foreground=False)
        if self._shown is not None:
            self._follower.follow(self._shown, foreground=True)

    def close(self) -> None:
        """Ends following. Waits for a reading that goes on: call it in a thread."""
        self._closed.set()
        if self._follower is not None:
            self._follower.close()

    def show(self, run: RunDirectory | None) -> None:
        """This run is on the screen now."""
        before, self._shown = self._shown, run
        if before is not None and (run is None or before.reference != run.reference):
            self._recent[before.reference] = None
            self._recent.move_to_end(before.reference)
            if self._follower is not None:
                self._follower.follow(before, foreground=False)
        if run is not None:
            self._recent.pop(run.reference, None)
            if self._follower is not None:
                self._follower.follow(run, foreground=True)
        self._forget()

    def keep(self, live: Iterable[tuple[str, RunDirectory]]) -> None:
        """These runs are live; they are followed whether they are on the screen or not."""
        before, self._live = self._live, dict(live)
        shown = self._shown.reference if self._shown is not None else None
        for reference in before.keys() - self._live.keys() - {shown}:
            self._recent[reference] = None
        if self._follower is not None:
            following = self._follower.following()
            for reference, run in self._live.items():
                if reference not in following:
                    self._follower.follow(run, foreground=False)
        self._forget()

    def snapshot(self, reference: str) -> RunSnapshot | None:
        """The newest snapshot of a followed run, or None while there is none."""
        return self._follower.snapshot(reference) if self._follower is not None else None

    def drain(self) -> Batch | None:
        """What has come; None when nothing has."""
        if self._follower is None or self._subscription is None:
            return None
        statuses, news, checkpoints = [], [], set()
        for channel, message in self._subscription.drain():
            if channel == "status":
                statuses.append(message)
                # The words of a status may change every second while the run stands still: it is news once.
                if message.get("word") != "stalled":
                    self._stalled.discard(message["run"])
                elif message["run"] not in self._stalled:
                    self._stalled.add(message["run"])
                    news.append({"kind": "run_stalled", "run": message["run"], "time": time.time()})
            elif channel == "events":
                kind = str(message.get("kind"))
                if kind.startswith("checkpoint_"):
                    checkpoints.add(message["run"])
                elif kind in _NEWS:
                    news.append(message)
        changed = set()
        # Not every change has a message: a status read anew has none, nor have series read again after a resume.
        for reference in self._follower.following():
            snapshot = self._follower.snapshot(reference)
            if snapshot is not None and self._versions.get(reference) != snapshot.version:
                self._versions[reference] = snapshot.version
                changed.add(reference)
        if not (changed or statuses or news or checkpoints):
            return None
        return Batch(frozenset(changed), tuple(statuses), tuple(news), frozenset(checkpoints))

    def failures(self) -> list[str]:
        """What went wrong while reading since this was last asked."""
        if self._follower is None:
            return []
        new = self._follower.failures[self._failures :]
        self._failures += len(new)
        return new

    def _forget(self) -> None:
        """Frees the curves of runs that are neither live nor among the last looked at."""
        while len(self._recent) > KEPT:
            reference, _ = self._recent.popitem(last=False)
            if reference not in self._live and self._follower is not None:
                self._follower.unfollow(reference)
                self._versions.pop(reference, None)
