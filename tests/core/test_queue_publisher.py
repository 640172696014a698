"""The queue between the follower and the screens: nothing blocks, every event arrives, metrics keep their newest."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

from kladml_core.backends.queue_publisher import QueuePublisher
from kladml_core.backends.run_log import RunLog
from kladml_core.metrics.columns import read as read_series
from kladml_core.metrics.names import file_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.tail import RunTail

RUN = "p/f/e/run_0001"


def metrics(step: int, run: str = RUN, **values: float) -> dict[str, object]:
    return {"run": run, "step": step, "time": float(step), "values": values}


def test_every_subscriber_gets_every_message_in_order() -> None:
    publisher = QueuePublisher()
    first, second = publisher.subscribe(), publisher.subscribe()
    for step in range(3):
        publisher.publish("metrics", metrics(step, loss=float(step)))
    publisher.publish("events", {"run": RUN, "kind": "log"})
    expected = ["metrics"] * 3 + ["events"]
    assert [channel for channel, _ in first.drain()] == expected
    assert [channel for channel, _ in second.drain()] == expected
    assert first.drain() == []


def test_a_subscription_hears_only_of_its_channels_and_runs() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe(channels=("events",), runs=[RUN])
    publisher.publish("metrics", metrics(1, loss=1.0))
    publisher.publish("events", {"run": "another/run/of/run_0009", "kind": "log"})
    publisher.publish("events", {"run": RUN, "kind": "log"})
    assert subscription.drain() == [("events", {"run": RUN, "kind": "log"})]


def test_a_subscriber_that_sleeps_keeps_the_newest_values_and_every_event() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe(capacity=10)
    for step in range(1000):
        publisher.publish("metrics", metrics(step, **{"train/loss": float(step), f"once/{step % 2}": 1.0}))
        publisher.publish("metrics", metrics(step, run="p/f/e/run_0002", loss=-float(step)))
        publisher.publish("events", {"run": RUN, "kind": "log", "seq": step})
    messages = subscription.drain()
    assert [message["seq"] for channel, message in messages if channel == "events"] == list(range(1000))
    taken = [message for channel, message in messages if channel == "metrics"]
    assert len(taken) <= 12
    values = {}
    for message in taken:
        values.update({(message["run"], name): value for name, value in message["values"].items()})
    assert values[RUN, "train/loss"] == 999.0
    assert values["p/f/e/run_0002", "loss"] == -999.0
    assert {"once/0", "once/1"} <= {name for _, name in values}
    assert subscription.dropped == 3000 - sum(len(message["values"]) for message in taken)


def test_coalescing_does_not_change_the_publishers_message() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe(capacity=1)
    first = metrics(1, a=1.0)
    publisher.publish("metrics", first)
    publisher.publish("metrics", metrics(2, b=2.0))
    assert first["values"] == {"a": 1.0}
    assert subscription.drain() == [("metrics", metrics(2, a=1.0, b=2.0))]


def test_wait_returns_as_soon_as_something_comes() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe()
    assert not subscription.wait(0.0)
    thread = threading.Thread(target=publisher.publish, args=("events", {"run": RUN, "kind": "log"}))
    thread.start()
    assert subscription.wait(10.0)
    thread.join()
    subscription.drain()
    assert not subscription.wait(0.0)


def test_a_closed_subscription_gets_nothing_more() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe()
    subscription.close()
    subscription.close()
    publisher.publish("events", {"run": RUN, "kind": "log"})
    assert subscription.drain() == []


def test_many_threads_lose_no_event() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe()

    def publish(thread: int) -> None:
        for number in range(500):
            publisher.publish("events", {"run": RUN, "kind": "log", "from": (thread, number)})

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        seen += subscription.drain()
    seen += subscription.drain()
    assert sorted(message["from"] for _, message in seen) == [(t, n) for t in range(4) for n in range(500)]


def test_a_subscriber_that_never_drains_delays_nobody_and_its_metrics_stay_few() -> None:
    publisher = QueuePublisher()
    slow, awake = publisher.subscribe(capacity=100), publisher.subscribe(capacity=100)
    taken = 0
    for step in range(50_000):
        publisher.publish("metrics", metrics(step, run=f"p/f/e/run_{step % 3000:04}", loss=float(step)))
        taken += len(awake.drain())
    assert (taken, awake.dropped) == (50_000, 0)
    waiting = slow.drain()
    # Of each run the newest one, and what came since the last time.
    assert len(waiting) <= 3000 + 101
    newest = {message["run"]: message["values"]["loss"] for _, message in waiting}
    assert newest == {f"p/f/e/run_{step % 3000:04}": float(step) for step in range(47_000, 50_000)}
    assert slow.dropped + len(waiting) == 50_000


def test_a_subscriber_that_is_taking_its_messages_out_does_not_hold_up_the_publisher() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe(capacity=10)
    with subscription._mailbox._lock:  # as in the midst of a drain
        for step in range(1000):
            publisher.publish("metrics", metrics(step, loss=float(step)))
    publisher.publish("metrics", metrics(1000, loss=1000.0))
    assert subscription.drain() == [("metrics", metrics(1000, loss=1000.0))]
    assert subscription.dropped == 1000


def test_what_follows_an_event_is_not_drained_before_it() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe(capacity=7)
    for step in range(50):
        publisher.publish("metrics", metrics(step, loss=float(step)))
        publisher.publish("events", {"run": RUN, "kind": "log", "step": step})
    publisher.publish("events", {"run": RUN, "kind": "run_finished", "step": 50})
    messages = subscription.drain()
    assert [message["step"] for channel, message in messages if channel == "events"] == list(range(51))
    assert messages[-1][1]["kind"] == "run_finished"
    steps = [message["step"] for channel, message in messages if channel == "metrics"]
    assert steps == sorted(steps)
    assert steps[-1] == 49


def test_a_subscriber_that_dies_without_closing_is_forgotten() -> None:
    publisher = QueuePublisher()
    staying = publisher.subscribe()

    def subscriber() -> None:
        subscription = publisher.subscribe()
        subscription.wait(0.0)

    thread = threading.Thread(target=subscriber)
    thread.start()
    thread.join()
    gc.collect()
    # The next subscriber finds nothing left of it.
    other = publisher.subscribe()
    assert [mailbox.closed for mailbox in publisher._mailboxes] == [False, False]
    publisher.publish("events", {"run": RUN, "kind": "log"})
    assert len(staying.drain()) == len(other.drain()) == 1


def test_subscribers_come_and_go_while_threads_publish_and_who_stays_misses_nothing() -> None:
    publisher = QueuePublisher()
    staying = publisher.subscribe()
    over = threading.Event()

    def publish(thread: int) -> None:
        for number in range(3000):
            publisher.publish("events", {"run": RUN, "kind": "log", "from": (thread, number)})

    def come_and_go() -> None:
        while not over.is_set():
            subscription = publisher.subscribe(capacity=5)
            subscription.drain()
            subscription.close()
            assert subscription.drain() == []

    going = [threading.Thread(target=come_and_go) for _ in range(2)]
    publishing = [threading.Thread(target=publish, args=(number,)) for number in range(3)]
    for thread in (*going, *publishing):
        thread.start()
    for thread in publishing:
        thread.join()
    over.set()
    for thread in going:
        thread.join()
    seen = [message["from"] for _, message in staying.drain()]
    assert sorted(seen) == [(thread, number) for thread in range(3) for number in range(3000)]
    assert len(publisher._mailboxes) == 1


def test_who_waits_for_a_subscription_that_is_closed_is_woken() -> None:
    publisher = QueuePublisher()
    subscription = publisher.subscribe()
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(subscription.wait(60.0)))
    thread.start()
    subscription.close()
    thread.join(30.0)
    assert answers == [False]


def test_what_a_slow_subscriber_missed_is_counted_and_stands_in_the_run_directory(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "p", "f", "e", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running")
    publisher = QueuePublisher()
    subscription = publisher.subscribe(channels=["metrics"], capacity=10)
    tail = RunTail(run, publisher, curves=True, smoothing=0.0)
    for step in range(1200):
        log.log_metrics({"loss": float(step), "lr": 0.1}, step)
        if step % 100 == 99:  # as a follower does, which looks before five hundred new steps have come
            tail.poll()
            tail.publish_pending()
    log.close()
    values = sum(len(message["values"]) for _, message in subscription.drain())
    assert subscription.dropped > 0
    assert values + subscription.dropped == 2400
    records, _ = read_series(run.metrics / file_name("loss"))
    assert records["value"].tolist() == [float(step) for step in range(1200)]
