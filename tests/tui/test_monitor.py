"""The monitor: what is followed, what a drain brings, what is let go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory
from kladml_tui.monitor import KEPT, Batch, Monitor
from tests.tui.shell import a_run, workspace_in
from tests.waiting import wait_for


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    made = Monitor()
    made.open()
    yield made
    made.close()


def drained(monitor: Monitor, reference: str) -> Batch:
    """The first batch in which a run changed."""

    def once() -> Batch | None:
        batch = monitor.drain()
        return batch if batch is not None and reference in batch.changed else None

    batch = wait_for(once, message=f"nothing of {reference} came")
    assert batch is not None
    return batch


def test_before_it_is_open_it_holds_nothing_and_forgets_nothing(tmp_path: Path) -> None:
    run = RunDirectory(a_run(workspace_in(tmp_path)))
    monitor = Monitor()
    assert not monitor.ready
    assert monitor.drain() is None
    assert monitor.snapshot(run.reference) is None
    monitor.show(run)
    monitor.open()
    try:
        monitor.begin()
        drained(monitor, run.reference)
        assert monitor.snapshot(run.reference) is not None
    finally:
        monitor.close()


def test_a_drain_brings_only_what_changed(tmp_path: Path, monitor: Monitor) -> None:
    run = RunDirectory.create(workspace_in(tmp_path) / "data", "p", "f", "e", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running", phase="training")
    monitor.show(run)
    drained(monitor, run.reference)
    log.log_metrics({"train/loss": 0.5}, 1)
    log.event("checkpoint_saved", step=1, name="step-0000000001")
    seen: set[str] = set()

    def checkpoint_seen() -> bool:
        batch = monitor.drain()
        if batch is not None:
            seen.update(batch.checkpoints)
        snapshot = monitor.snapshot(run.reference)
        return run.reference in seen and snapshot is not None and "train/loss" in snapshot.last

    wait_for(checkpoint_seen)
    log.event("run_finished", step=1, exit_code=0)
    log.status("finished", exit_code=0)
    log.close()
    ended: list[dict[str, object]] = []

    def end_seen() -> bool:
        batch = monitor.drain()
        if batch is not None:
            ended.extend(batch.news)
        return bool(ended)

    wait_for(end_seen)
    assert ended[0]["kind"] == "run_finished"


def test_live_runs_are_followed_out_of_sight(tmp_path: Path, monitor: Monitor) -> None:
    run = RunDirectory(a_run(workspace_in(tmp_path), status="running"))
    monitor.keep([(run.reference, run)])
    drained(monitor, run.reference)


def test_runs_looked_at_long_ago_are_let_go_and_live_ones_are_not(tmp_path: Path, monitor: Monitor) -> None:
    workspace = workspace_in(tmp_path)
    live = RunDirectory(a_run(workspace, "p/f/live", status="running"))
    runs = [RunDirectory(a_run(workspace)) for _ in range(KEPT + 3)]
    monitor.keep([(live.reference, live)])
    monitor.show(live)
    for run in runs:
        monitor.show(run)
    wait_for(lambda: monitor.snapshot(runs[-1].reference))
    assert monitor._follower is not None
    following = monitor._follower.following()
    assert live.reference in following
    assert runs[-1].reference in following
    assert runs[0].reference not in following
    assert len(following) <= KEPT + 2


def test_closing_before_opening_has_come_to_its_end_leaves_no_thread(tmp_path: Path) -> None:
    monitor = Monitor()
    monitor.close()
    monitor.open()
    assert monitor._follower is not None
    assert not monitor._follower._thread.is_alive()
