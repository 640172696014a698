"""The in-process queue between one publisher and many subscribers; a slow subscriber never blocks the publisher."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import Any

from kladml_core.interfaces.publisher import PublisherInterface

CHANNELS = ("metrics", "events", "status")
DEFAULT_CAPACITY = 4096

Message = dict[str, Any]


class Subscription:
    """One subscriber's mailbox. Any thread may drain it.

    Events and status messages are never dropped. Metrics are bounded: past `capacity` messages they are coalesced,
    so that of each run and metric the newest value stays; what went is counted in `dropped` and can be read
    from the run directory.
    """

    def __init__(self, publisher: QueuePublisher, channels: Iterable[str], runs: Collection[str] | None, capacity: int):
        self._publisher = publisher
        self._channels = frozenset(channels)
        self._runs = None if runs is None else frozenset(runs)
        self._capacity = capacity
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._messages: list[tuple[str, Message]] = []
        self._metrics = 0
        self.dropped = 0
        """Metric values coalesced away since the subscription began."""

    def wants(self, channel: str, message: Message) -> bool:
        """Whether a message is for this subscriber."""
        return channel in self._channels and (self._runs is None or message.get("run") in self._runs)

    def put(self, channel: str, message: Message) -> None:
        """Takes a message from the publisher; never blocks for longer than another thread copies a list."""
        with self._lock:
            self._messages.append((channel, message))
            if channel == "metrics":
                self._metrics += 1
                if self._metrics > self._capacity:
                    self._coalesce()
        if not self._arrived.is_set():
            self._arrived.set()

    def drain(self) -> list[tuple[str, Message]]:
        """Everything that has come since the last drain, oldest first."""
        with self._lock:
            messages, self._messages = self._messages, []
            self._metrics = 0
            self._arrived.clear()
        return messages

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until something is there to drain; False when `timeout` seconds passed first."""
        return self._arrived.wait(timeout)

    def close(self) -> None:
        """Ends the subscription; what was not drained is discarded."""
        self._publisher.unsubscribe(self)

    def _coalesce(self) -> None:
        """Keeps the newest value of each run and metric, in one message a run; other channels stay in their order."""
        newest: dict[str, Message] = {}
        kept: list[tuple[str, Message]] = []
        values = 0
        for channel, message in self._messages:
            if channel != "metrics":
                kept.append((channel, message))
                continue
            values += len(message["values"])
            run = message["run"]
            merged = newest.get(run)
            if merged is None:
                merged = newest[run] = {**message, "values": dict(message["values"])}
                kept.append(("metrics", merged))
            else:
                merged["values"].update(message["values"])
                merged["step"], merged["time"] = message["step"], message["time"]
        self.dropped += values - sum(len(message["values"]) for message in newest.values())
        self._messages = kept
        self._metrics = len(newest)


class QueuePublisher(PublisherInterface):
    """Hands each message to every subscription that wants it. Thread-safe; publishing never waits for a reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced, never changed: publish reads it without the lock.
        self._subscriptions: tuple[Subscription, ...] = ()

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
            capacity: metric messages kept before they are coalesced.
        """
        subscription = Subscription(self, channels, runs, capacity)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription; one that has ended already is ignored."""
        with self._lock:
            self._subscriptions = tuple(one for one in self._subscriptions if one is not subscription)

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Puts a message into the mailbox of every subscription that wants it."""
        for subscription in self._subscriptions:
            if subscription.wants(channel, message):
                subscription.put(channel, message)
