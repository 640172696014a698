"""QueuePublisher with four subscribers against bare queues: `python -m tests.benchmarks.queue_publisher`."""

from __future__ import annotations

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kladml_core.backends.queue_publisher import QueuePublisher

LIMIT_A_SECOND = 200_000
SUBSCRIBERS = 4
MESSAGES = 100_000
ROUNDS = 7
FRAME_SECONDS = 1 / 15

Message = dict[str, Any]


def messages() -> list[Message]:
    """What a run publishes that logs four metrics a step."""
    values = {"train/loss": 0.5, "train/learning_rate": 1e-3, "train/gradient_norm": 0.7, "train/data_wait": 0.01}
    return [{"run": "p/f/e/run_0001", "step": step, "time": 1.7e9, "values": values} for step in range(MESSAGES)]


def published(sent: Sequence[Message], drained: bool) -> float:
    """Messages a second; with `drained`, subscribers in threads of their own take them 15 times a second."""
    publisher = QueuePublisher()
    subscriptions = [publisher.subscribe() for _ in range(SUBSCRIBERS)]
    takers: list[Callable[[], object]] = [subscription.drain for subscription in subscriptions] if drained else []
    return _timed(lambda message: publisher.publish("metrics", message), sent, takers)


def put_by_hand(sent: Sequence[Message]) -> float:
    """The same with a queue for each subscriber: without channels, runs or a bound."""
    queues: list[queue.SimpleQueue[Message]] = [queue.SimpleQueue() for _ in range(SUBSCRIBERS)]

    def put(message: Message) -> None:
        for each in queues:
            each.put(message)

    def taker(each: queue.SimpleQueue[Message]) -> Callable[[], object]:
        return lambda: [each.get_nowait() for _ in range(each.qsize())]

    return _timed(put, sent, [taker(each) for each in queues])


def _timed(put: Callable[[Message], object], sent: Sequence[Message], takers: Sequence[Callable[[], object]]) -> float:
    over = threading.Event()

    def take(taker: Callable[[], object]) -> None:
        while not over.wait(FRAME_SECONDS):
            taker()

    threads = [threading.Thread(target=take, args=(taker,)) for taker in takers]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    for message in sent:
        put(message)
    seconds = time.perf_counter() - start
    over.set()
    for thread in threads:
        thread.join()
    return len(sent) / seconds


def main() -> int:
    """Prints a table; 1 when a subscriber that drains or one that sleeps costs too much."""
    sent = messages()
    cases: dict[str, Callable[[], float]] = {
        "QueuePublisher, subscribers drain": lambda: published(sent, drained=True),
        "QueuePublisher, subscribers sleep": lambda: published(sent, drained=False),
        "four SimpleQueues, drained": lambda: put_by_hand(sent),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            rates[name].append(case())
    print(f"{'messages a second, four subscribers':<38}{'median':>12}{'worst':>12}{'limit':>12}")
    missed = False
    for name, found in rates.items():
        ours = name.startswith("QueuePublisher")
        limit = f"≥ {LIMIT_A_SECOND:,}" if ours else ""
        print(f"{name:<38}{statistics.median(found):>12,.0f}{min(found):>12,.0f}{limit:>12}")
        missed |= ours and statistics.median(found) < LIMIT_A_SECOND
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
