"""One contract for every publisher: what is published arrives, from any thread, and nothing that happens reaches it."""

from __future__ import annotations

import copy
import io
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kladml_core.backends.console_publisher import ConsolePublisher
from kladml_core.backends.queue_publisher import QueuePublisher
from kladml_core.backends.run_log import RunLog
from kladml_core.interfaces import PublisherInterface
from kladml_core.metrics.columns import read as read_series
from kladml_core.metrics.names import file_name, list_metrics
from kladml_core.runs.events import read_events
from kladml_core.runs.rundir import RunDirectory

RUN = "vision/digits/cnn/run_0001"
THREADS, EACH = 4, 300


class OneMethod(PublisherInterface):
    """The least that somebody else's publisher may be."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        self.taken.append((channel, message))


@dataclass(frozen=True)
class Heard:
    """What has arrived behind a publisher."""

    events: list[str]
    """Their messages, in order."""
    newest: dict[str, float]
    """The newest value of each metric."""
    statuses: list[str]


@dataclass(frozen=True)
class Case:
    publisher: PublisherInterface
    heard: Callable[[], Heard]
    end: Callable[[], None]
    """Takes away whoever receives."""


def of_messages(messages: list[tuple[str, dict[str, Any]]]) -> Heard:
    newest: dict[str, float] = {}
    for channel, message in messages:
        if channel == "metrics":
            newest.update(message.get("values", {}))
    events = [str(message.get("message")) for channel, message in messages if channel == "events"]
    return Heard(events, newest, [str(message.get("status")) for channel, message in messages if channel == "status"])


def one_method(folder: Path) -> Case:
    publisher = OneMethod()
    return Case(publisher, lambda: of_messages(publisher.taken), lambda: None)


def queue(folder: Path) -> Case:
    publisher = QueuePublisher()
    subscription = publisher.subscribe(capacity=50)
    return Case(publisher, lambda: of_messages(subscription.drain()), subscription.close)


def run_log(folder: Path) -> Case:
    run = RunDirectory.create(folder, "vision", "digits", "cnn", seed=0)
    log = RunLog(run, run.claim_attempt())

    def heard() -> Heard:
        values = {name: read_series(run.metrics / file_name(name))[0][-1] for name in list_metrics(run.metrics)}
        events = [event["message"] for event in read_events(run.events)[0] if "level" not in event]
        newest = {name: float(record["value"]) for name, record in values.items()}
        return Heard(events, newest, [str((run.read_state() or {}).get("status"))])

    return Case(log, heard, log.close)


def console(folder: Path) -> Case:
    stream = io.StringIO()
    publisher = ConsolePublisher(stream, metrics_seconds=0.01)

    def heard() -> Heard:
        publisher.flush()
        lines = stream.getvalue().splitlines()
        newest: dict[str, float] = {}
        for line in lines:
            if line.startswith("step "):
                names = re.findall(r"(\S+) (\S+)", line.partition("  ")[2])
                newest.update({name: float(value) for name, value in names})
        events = [line.split("  ", 2)[-1] for line in lines if re.match(r"[\d-]+:", line)]
        return Heard(events, newest, [line.split()[1] for line in lines if line.startswith(RUN)])

    return Case(publisher, heard, stream.close)


@pytest.fixture(params=[one_method, queue, run_log, console], ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    made: Case = request.param(tmp_path)
    return made


def metrics(step: int, **values: float) -> dict[str, Any]:
    return {"run": RUN, "step": step, "time": 1_700_000_000.0 + step, "values": values}


def log_event(text: str) -> dict[str, Any]:
    return {"run": RUN, "kind": "log", "time": 1_700_000_000.0, "message": text}


def test_every_channel_arrives(case: Case) -> None:
    case.publisher.publish("status", {"run": RUN, "status": "running", "message": ""})
    case.publisher.publish("metrics", metrics(1, loss=0.5, lr=0.1))
    case.publisher.publish("events", log_event("half way"))
    case.publisher.publish("metrics", metrics(2, loss=0.25))
    assert case.heard() == Heard(["half way"], {"loss": 0.25, "lr": 0.1}, ["running"])


def test_threads_lose_no_event_keep_their_order_and_leave_the_newest_values(case: Case) -> None:
    begin = threading.Barrier(THREADS)

    def publish(thread: int) -> None:
        begin.wait()
        for number in range(EACH):
            case.publisher.publish("metrics", metrics(number, **{f"m{thread}": float(number)}))
            case.publisher.publish("events", log_event(f"{thread}.{number}"))

    threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard = case.heard()
    assert heard.newest == {f"m{thread}": EACH - 1.0 for thread in range(THREADS)}
    for thread in range(THREADS):
        mine = [text for text in heard.events if text.startswith(f"{thread}.")]
        assert mine == [f"{thread}.{number}" for number in range(EACH)]
    assert len(heard.events) == THREADS * EACH


def test_what_is_no_number_and_what_is_hostile_arrives(case: Case) -> None:
    case.publisher.publish("metrics", metrics(1, loss=math.nan, top=math.inf))
    case.publisher.publish("events", log_event("[/red] 50%"))
    heard = case.heard()
    assert math.isnan(heard.newest["loss"])
    assert heard.newest["top"] == math.inf
    assert heard.events == ["[/red] 50%"]


def test_the_publisher_leaves_a_message_as_it_was(case: Case) -> None:
    messages = [("metrics", metrics(step, loss=1.0)) for step in range(60)] + [("events", log_event("x"))]
    before = copy.deepcopy(messages)
    for channel, message in messages:
        case.publisher.publish(channel, message)
    assert messages == before


def test_a_message_that_makes_no_sense_raises_nothing_and_holds_up_nothing(case: Case) -> None:
    for channel in ("metrics", "events", "status", "weather"):
        case.publisher.publish(channel, {})
        case.publisher.publish(channel, {"run": RUN, "kind": "log", "message": object(), "level": "strange"})
    case.publisher.publish("metrics", metrics(1, loss=1.0))
    assert case.heard().newest["loss"] == 1.0


def test_nothing_is_raised_once_whoever_receives_is_gone(case: Case) -> None:
    case.publisher.publish("metrics", metrics(1, loss=1.0))
    case.end()
    for number in range(200):
        case.publisher.publish("events", log_event(str(number)))
        case.publisher.publish("metrics", metrics(number, loss=1.0))
        case.publisher.publish("status", {"run": RUN, "status": "running", "message": ""})


# --- the console alone ------------------------------------------------------------------------------------------


def test_the_console_names_the_run_once_it_hears_of_a_second_one() -> None:
    stream = io.StringIO()
    console = ConsolePublisher(stream, metrics_seconds=3600)
    console.publish("metrics", metrics(1, loss=1.0))
    console.publish("metrics", metrics(2, loss=2.0))
    console.publish("metrics", {**metrics(7, loss=7.0), "run": "other/run_0002"})
    console.flush()
    assert stream.getvalue().splitlines() == [
        "step 1  loss 1",
        f"{RUN}  step 2  loss 2",
        "other/run_0002  step 7  loss 7",
    ]


def test_the_console_says_why_it_prints_nothing_any_more() -> None:
    stream = io.StringIO()
    console = ConsolePublisher(stream)
    assert console.failure is None
    stream.close()
    console.publish("events", log_event("x"))
    assert isinstance(console.failure, ValueError)


# --- the run's log alone ----------------------------------------------------------------------------------------


def test_the_log_counts_what_it_could_not_take(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "vision", "digits", "cnn", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.publish("metrics", {"run": RUN})
    log.publish("weather", {"run": RUN})
    log.event("log", message="next")
    log.close()
    log.log_metrics({"loss": 1.0, "lr": 1.0}, 1)
    log.event("log", message="too late")
    assert log.dropped == 5
    dropped, after = read_events(run.events)[0]
    assert (dropped["kind"], dropped["count"], after["message"]) == ("dropped", 2, "next")


def test_threads_that_log_more_metrics_than_may_stay_open_write_each_into_its_own_file(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "vision", "digits", "cnn", seed=0)
    log = RunLog(run, run.claim_attempt())

    def write(thread: int) -> None:
        for step in range(4):
            log.log_metrics({f"m{thread}.{number}": float(thread) for number in range(100)}, step)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    for thread in range(THREADS):
        for number in range(100):
            records, _ = read_series(run.metrics / file_name(f"m{thread}.{number}"))
            assert records["step"].tolist() == [0, 1, 2, 3]
            assert set(records["value"].tolist()) == {float(thread)}
    assert log.dropped == 0
