"""The queue between the follower and the screens: nothing blocks, every event arrives, metrics keep their newest."""

from __future__ import annotations

import threading

from kladml_core.backends.queue_publisher import QueuePublisher

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
