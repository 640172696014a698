"""The in-process queue between publishers and many subscribers; a slow subscriber never blocks a publisher."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from kladml_core.interfaces.publisher import PublisherInterface

CHANNELS = ("metrics", "events", "status")
DEFAULT_CAPACITY = 4096

Message = dict[str, Any]
Item = tuple[str, Message]


class Subscription:
    """One subscriber's mailbox. Any thread may drain it; one that is forgotten without being closed ends by itself.

    Events and status messages are never dropped. Metrics are bounded: when more than `capacity` messages wait, they
    are coalesced, so that of each run and metric the newest value stays; what went is counted in `dropped` and can be
    read from the run directory. Of what waits, coalesced metrics come first; all else comes in its order.
    """

    def __init__(self, publisher: QueuePublisher, mailbox: _Mailbox) -> None:
        self._publisher = publisher
        self._mailbox = mailbox
        # A subscriber that dies with an exception closes nothing, and its events would pile up for ever.
        weakref.finalize(self, mailbox.close).atexit = False

    @property
    def dropped(self) -> int:
        """Metric values coalesced away since the subscription began."""
        return self._mailbox.dropped

    def drain(self) -> list[Item]:
        """Everything that has come since the last drain; nothing once the subscription is closed."""
        return self._mailbox.drain()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until something is there to drain; False when `timeout` seconds passed first, or it is closed.

        With several publishing threads it may return once too often, never once too late.
        """
        mailbox = self._mailbox
        return mailbox.arrived.wait(timeout) and not mailbox.closed

    def close(self) -> None:
        """Ends the subscription; what was not drained is discarded, and who waits for it is woken."""
        self._publisher.unsubscribe(self)


class QueuePublisher(PublisherInterface):
    """Hands each message to every subscription that wants it. Thread-safe; publishing never waits for a reader.

    The messages are shared between the subscribers: they are not to be changed once they are published.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mailboxes: tuple[_Mailbox, ...] = ()
        # Replaced, never changed: publish reads it without the lock.
        self._wanted: dict[str, tuple[Callable[[Item], None], ...]] = {}

    def subscribe(
        self,
        channels: Iterable[str] = CHANNELS,
        runs: Collection[str] | None = None,
        *,
        capacity: int = DEFAULT_CAPACITY,
    ) -> Subscription:
        """A new mailbox.

        Args:
            channels: any of `metrics`, `events`, `status`.
            runs: references of the runs to hear of; all when None.
            capacity: messages that wait before metrics are coalesced.
        """
        mailbox = _Mailbox(frozenset(channels), None if runs is None else frozenset(runs), capacity)
        with self._lock:
            self._keep((*self._mailboxes, mailbox))
        return Subscription(self, mailbox)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription; one that has ended already is ignored."""
        subscription._mailbox.close()
        with self._lock:
            self._keep(self._mailboxes)

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Puts a message into the mailbox of every subscription that wants it."""
        item = (channel, message)
        for put in self._wanted.get(channel, ()):
            put(item)

    def _keep(self, mailboxes: Iterable[_Mailbox]) -> None:
        self._mailboxes = tuple(mailbox for mailbox in mailboxes if not mailbox.closed)
        channels = {channel for mailbox in self._mailboxes for channel in mailbox.channels}
        self._wanted = {
            channel: tuple(mailbox.put for mailbox in self._mailboxes if channel in mailbox.channels)
            for channel in channels
        }


class _Mailbox:
    """What waits for one subscriber: put in by any thread without a lock, taken out under one.

    `deque.append` and `popleft` are atomic, so a publisher waits for nobody: where another thread holds the lock, that
    thread empties the inbox, and this one need not.
    """

    __slots__ = ("_coalesced", "_inbox", "_lock", "_others", "_told", "arrived", "capacity", "channels", "closed",
                 "dropped", "runs")  # fmt: skip

    def __init__(self, channels: frozenset[str], runs: frozenset[str] | None, capacity: int) -> None:
        self.channels = channels
        self.runs = runs
        self.capacity = capacity
        self.closed = False
        self.dropped = 0
        self.arrived = threading.Event()
        self._told = False
        self._lock = threading.Lock()
        self._inbox: deque[Item] = deque()
        self._others: list[Item] = []
        self._coalesced: dict[str, Message] = {}

    def put(self, item: Item) -> None:
        """Takes a message; every `capacity` messages this one also coalesces, in about a microsecond for each."""
        if self.closed or (self.runs is not None and item[1].get("run") not in self.runs):
            return
        inbox = self._inbox
        inbox.append(item)
        if not self._told:
            self._told = True
            self.arrived.set()
        if len(inbox) > self.capacity and self._lock.acquire(blocking=False):
            try:
                self._coalesce(self._taken())
            finally:
                self._lock.release()

    def drain(self) -> list[Item]:
        with self._lock:
            if self.closed:
                return []
            # In this order: whatever is put in from here on is announced anew, or is among what is taken.
            self.arrived.clear()
            self._told = False
            items = [("metrics", message) for message in self._coalesced.values()]
            items += self._others
            items += self._taken()
            self._coalesced, self._others = {}, []
        return items

    def close(self) -> None:
        # Without the lock: it may be called by the garbage collector, in the midst of anything.
        self.closed = True
        self._inbox.clear()
        self._others, self._coalesced = [], {}
        self.arrived.set()

    def _taken(self) -> list[Item]:
        take = self._inbox.popleft
        try:
            return [take() for _ in range(len(self._inbox))]
        except IndexError:  # closed meanwhile
            return []

    def _coalesce(self, items: list[Item]) -> None:
        """Keeps the newest value of each run and metric, in one message a run, and all that are no metrics."""
        newest = self._coalesced
        dropped = 0
        for item in items:
            channel, message = item
            if channel != "metrics":
                self._others.append(item)
                continue
            run = message.get("run", "")
            values = message.get("values", {})
            before = newest.get(run)
            kept = before["values"] if before is not None else {}
            dropped += len(kept) + len(values)
            kept.update(values)
            dropped -= len(kept)
            newest[run] = {**message, "values": kept}
        self.dropped += dropped
