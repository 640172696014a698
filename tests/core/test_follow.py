"""The follower: what a run writes is published once, in order, the end last, whatever shape the files are in."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kladml_core.backends.queue_publisher import QueuePublisher, Subscription
from kladml_core.backends.run_log import RunLog
from kladml_core.runs.files import write_json
from kladml_core.runs.follow import RunFollower
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from tests.waiting import wait_for


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path, "vision", "digits", "cnn", seed=0)
    run.claim_attempt()
    return run


@pytest.fixture
def publisher() -> QueuePublisher:
    return QueuePublisher()


@pytest.fixture
def follower(publisher: QueuePublisher) -> Iterator[RunFollower]:
    follower = RunFollower(publisher)
    follower.start()
    yield follower
    follower.close()


class Heard:
    """Everything a subscription has brought so far."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def until(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        def arrived() -> bool:
            self.messages += self._subscription.drain()
            return any(message.get("kind") == kind for _, message in self.messages)

        wait_for(arrived, message=f"no event {kind} came")
        return self.messages

    def values(self, metric: str) -> list[tuple[int, float]]:
        found = [message for channel, message in self.messages if channel == "metrics" and metric in message["values"]]
        return [(message["step"], message["values"][metric]) for message in found]


def test_a_live_run_is_published_as_it_happens_and_its_end_comes_last(
    run: RunDirectory, publisher: QueuePublisher, follower: RunFollower
) -> None:
    heard = Heard(publisher.subscribe())
    log = RunLog(run, 1)
    log.status("running")
    log.event("run_started", step=0)
    follower.follow(run)
    heard.until("run_started")
    for step in range(1, 200):
        log.log_metrics({"train/loss": 1.0 / step}, step)
    log.log_metrics({"val/loss": math.nan}, 199)
    log.event("run_finished", step=199, exit_code=0)
    log.status("finished", exit_code=0)
    log.close()
    messages = heard.until("run_finished")
    assert heard.values("train/loss") == [(step, 1.0 / step) for step in range(1, 200)]
    assert len(heard.values("val/loss")) == 1
    assert messages[-1] == ("events", {**messages[-1][1], "kind": "run_finished", "run": run.reference})
    statuses = [message["status"] for channel, message in messages if channel == "status"]
    assert statuses[-1] == "finished"
    snapshot = follower.snapshot(run.reference)
    assert snapshot is not None
    assert snapshot.last["train/loss"].step == 199
    assert snapshot.series["train/loss"].count == 199
    assert [event["kind"] for event in snapshot.events] == ["run_started", "run_finished"]


def test_a_dead_run_ends_with_a_synthetic_event(
    run: RunDirectory, publisher: QueuePublisher, follower: RunFollower
) -> None:
    RunLog(run, 1).close()
    gone = {**identity().to_json(), "start_time": 1.0}
    write_json(run.state_json, {"v": 1, "status": "running", "attempt": 1, **gone, "heartbeat": time.time(), "step": 3})
    heard = Heard(publisher.subscribe())
    follower.follow(run)
    channel, end = heard.until("run_lost")[-1]
    assert (channel, end["exit_code"], end["attempt"], end["resumable"]) == ("events", 137, 1, False)
    follower.follow(run, foreground=False)
    assert [message["kind"] for channel, message in heard.messages if channel == "events"] == ["run_lost"]


def test_a_resume_hides_the_branch_it_gave_up_while_it_is_followed(
    run: RunDirectory, publisher: QueuePublisher, follower: RunFollower
) -> None:
    log = RunLog(run, 1)
    for step in range(1, 11):
        log.log_metrics({"loss": 100.0 + step, "only/before": 1.0}, step)
    log.close()
    heard = Heard(publisher.subscribe())
    follower.follow(run)
    wait_for(lambda: (shot := follower.snapshot(run.reference)) and shot.last["loss"].step == 10)
    log = RunLog(run, run.claim_attempt())
    log.event("resumed", step=4, offsets=log.offsets())
    log.log_metrics({"loss": 5.0}, 5)
    heard.until("resumed")

    def rejoined() -> bool:
        snapshot = follower.snapshot(run.reference)
        return snapshot is not None and snapshot.last["loss"].step == 5 and snapshot.series["loss"].count == 5

    wait_for(rejoined)
    snapshot = follower.snapshot(run.reference)
    assert snapshot is not None
    assert snapshot.series["only/before"].count == 4
    log.close()


def test_a_long_history_is_not_replayed_message_by_message(
    run: RunDirectory, publisher: QueuePublisher, follower: RunFollower
) -> None:
    log = RunLog(run, 1)
    for step in range(5000):
        log.log_metrics({"loss": float(step)}, step)
    log.event("run_finished", exit_code=0)
    log.status("finished")
    log.close()
    heard = Heard(publisher.subscribe())
    follower.follow(run)
    heard.until("run_finished")
    assert heard.values("loss") == [(4999, 4999.0)]
    snapshot = follower.snapshot(run.reference)
    assert snapshot is not None and snapshot.series["loss"].count == 5000


def test_torn_and_foreign_pieces_are_passed_over(
    run: RunDirectory, publisher: QueuePublisher, follower: RunFollower
) -> None:
    log = RunLog(run, 1)
    log.log_metrics({"loss": 1.0}, 1)
    log.close()
    (run.metrics / "loss.bin").open("ab").write(b"\x05" * 11)
    (run.metrics / "not a%metric.bin").write_bytes(b"x" * 24)
    (run.metrics / "notes.txt").write_text("hello")
    lines = [b"\xff\xfe", b"{}", b"[1]", b'{"kind": 3}', b'{"v":1,"seq":5,"kind":"log","message":"whole"}']
    run.events.write_bytes(b"\n".join(lines) + b'\n{"v":1,"seq":6,"kind":"torn"')
    heard = Heard(publisher.subscribe())
    follower.follow(run)
    heard.until("log")
    assert heard.values("loss") == [(1, 1.0)]
    with run.events.open("ab") as file:
        file.write(b"}\n" + json.dumps({"v": 1, "seq": 7, "kind": "late"}).encode() + b"\n")
    heard.until("late")
    kinds = [message["kind"] for channel, message in heard.messages if channel == "events"]
    assert kinds == ["log", "torn", "late"]


def test_a_run_that_vanishes_does_not_end_the_following_of_others(
    run: RunDirectory, tmp_path: Path, publisher: QueuePublisher, follower: RunFollower
) -> None:
    import shutil

    other = RunDirectory.create(tmp_path, "vision", "digits", "cnn", seed=1)
    other.claim_attempt()
    heard = Heard(publisher.subscribe())
    follower.follow(run)
    follower.follow(other)
    shutil.rmtree(run.path)
    log = RunLog(other, 1)
    log.event("log", message="still here")
    heard.until("log")
    log.close()
    assert follower.failures == []


def test_a_forgotten_run_is_silent(run: RunDirectory, publisher: QueuePublisher, follower: RunFollower) -> None:
    follower.follow(run)
    wait_for(lambda: follower.snapshot(run.reference))
    follower.unfollow(run.reference)
    assert follower.snapshot(run.reference) is None
    assert follower.following() == frozenset()


def test_another_smoothing_is_applied_to_the_whole_curve(run: RunDirectory, follower: RunFollower) -> None:
    log = RunLog(run, 1)
    for step in range(100):
        log.log_metrics({"loss": float(step % 2)}, step)
    follower.follow(run)
    wait_for(lambda: (shot := follower.snapshot(run.reference)) and shot.series["loss"].count == 100)
    before = follower.snapshot(run.reference)
    follower.set_smoothing(0.99)
    wait_for(lambda: (shot := follower.snapshot(run.reference)) and before and shot.version > before.version)
    after = follower.snapshot(run.reference)
    assert after is not None and after.series["loss"].count == 100
    assert after.series["loss"].smoothing == 0.99
    log.close()


def test_the_step_of_a_live_run_is_never_behind_its_curves(run: RunDirectory, follower: RunFollower) -> None:
    log = RunLog(run, 1, heartbeat=3600)
    log.status("running")
    log.log_metrics({"loss": 1.0}, 41)
    follower.follow(run)
    snapshot = wait_for(lambda: follower.snapshot(run.reference))
    assert (snapshot.status.step, snapshot.last["loss"].step) == (41, 41)
    log.close()
