"""The queue with real processes: order, places, pause, slots, failure and trying again."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.errors import KladMLError, UnusableError
from kladml_core.runs import background, queue
from kladml_core.runs.queue import REMOVED, enqueue_run, move, pause, proceed, remove, remove_run, retry
from kladml_core.runs.queue_items import KIND, item_file, places, queue_dir, run_of
from kladml_core.runs.queue_list import ensure_scheduler, find_entry
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.settings import load_settings
from tests.core.queue_workspace import (
    add,
    began,
    hold,
    queue_workspace,
    run_named,
    shown,
    wait_until_empty,
    wait_until_nobody_schedules,
)
from tests.core.small_scheduler import GPUS, pretended_gpus
from tests.core.small_worker import FAILS
from tests.waiting import wait_for


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return queue_workspace(tmp_path, monkeypatch)


def test_what_comes_first_starts_first_and_the_scheduler_ends_with_the_queue(lab: Path) -> None:
    added = add(lab, 3)
    assert [entry.reference.rpartition("/")[2] for entry in added] == ["run_0001", "run_0002", "run_0003"]
    wait_until_empty(lab)
    assert began(lab) == ["run_0001", "run_0002", "run_0003"]
    assert {read_status(RunDirectory(path)).status for path in all_runs(lab / "data")} == {"finished"}
    wait_until_nobody_schedules(lab)
    assert list(queue_dir(lab / "data").iterdir()) == []


def test_a_queued_run_has_its_directory_its_frozen_config_and_its_place(lab: Path) -> None:
    pause(lab / "data")
    first, second = (*add(lab, 1, "seed=4"), *add(lab))
    (lab / "quick.yaml").write_text("nonsense: true\n")
    run = RunDirectory(lab / "data" / "projects" / first.reference)
    assert read_status(run).status == "queued" and read_status(run).attempt == 1
    assert "seed: 4" in run.config.read_text()
    assert (run.read_attempt(1) or {})["overrides"] == ["seed=4"]
    assert places(lab / "data") == {first.reference: 1, second.reference: 2}
    assert (first.place, second.place, first.item.need.text) == (1, 2, "CPU")
    proceed(load_settings(lab))
    wait_until_empty(lab)
    assert read_status(run).status == "finished"


def test_a_run_launched_beside_the_queue_keeps_its_place_on_the_cpu(lab: Path) -> None:
    beside = RunDirectory.create(lab / "data", "p", "f", "beside", seed=0)
    log = RunLog(beside, beside.claim_attempt())
    log.status("running")
    add(lab)
    wait_for(lambda: background.holder(lab / "data", KIND), 60)
    ticks = item_file(lab / "data", 1).stat().st_mtime_ns
    assert shown(lab) == [("run_0001", "queued")] and item_file(lab / "data", 1).stat().st_mtime_ns == ticks
    log.status("finished")
    log.close()
    wait_until_empty(lab)
    assert began(lab) == ["run_0001"]


def test_what_waits_can_be_moved_and_removed_and_what_runs_cannot(lab: Path) -> None:
    data, held = lab / "data", hold(lab)
    first, *others = add(lab, 5)
    wait_for(lambda: began(lab) == ["run_0001"], 60)
    move(data, others[3], 1)
    move(data, others[0], 99)
    assert [name for name, state in shown(lab) if state == "queued"] == [
        "run_0005",
        "run_0003",
        "run_0004",
        "run_0002",
    ]
    remove(data, others[1])
    with pytest.raises(UnusableError, match="has begun"):
        remove(data, first)
    with pytest.raises(UnusableError, match="waits no more"):
        move(data, first, 1)
    with pytest.raises(UnusableError, match="not in the queue any more"):
        remove(data, others[1])
    status = read_status(run_named(lab, "run_0003"))
    assert (status.status, status.reason, status.exit_code) == ("stopped", REMOVED, 75)
    held.unlink()
    wait_until_empty(lab)
    assert began(lab) == ["run_0001", "run_0005", "run_0004", "run_0002"]


def test_moving_between_the_same_two_for_ever_keeps_the_order_whole(lab: Path) -> None:
    data = lab / "data"
    pause(data)
    a, b, c = add(lab, 3)
    for _ in range(120):  # each time halfway between the first and the second, until no number is left
        move(data, b, 2)
        b, c = c, b
    assert [name for name, _ in shown(lab)] == [entry.reference.rpartition("/")[2] for entry in (a, c, b)]
    assert len(places(data)) == 3


def test_a_removed_run_comes_in_again_as_it_was(lab: Path) -> None:
    data = lab / "data"
    pause(data)
    (entry,) = add(lab, 1, "seed=9")
    run = run_of(data, entry.item)
    remove_run(run)
    assert read_status(run).status == "stopped" and shown(lab) == []
    again = enqueue_run(run, workspace=lab)
    assert (again.reference, again.item.attempt, read_status(run).status) == (run.reference, 1, "queued")
    with pytest.raises(KladMLError, match="queued already"):
        enqueue_run(run, workspace=lab)
    proceed(load_settings(lab))
    wait_until_empty(lab)
    assert began(lab) == ["run_0001"] and "seed: 9" in run.config.read_text()


def test_a_paused_queue_starts_nothing_and_what_runs_goes_on(lab: Path) -> None:
    data, held = lab / "data", hold(lab)
    add(lab, 2)
    wait_for(lambda: began(lab) == ["run_0001"], 60)
    pause(data)
    held.unlink()
    wait_until_nobody_schedules(lab)  # the run has ended, and there is nothing that it may start
    assert began(lab) == ["run_0001"] and shown(lab) == [("run_0002", "queued")]
    ensure_scheduler(load_settings(lab))
    assert background.holder(data, KIND) is None
    proceed(load_settings(lab))
    wait_until_empty(lab)
    assert began(lab) == ["run_0001", "run_0002"]


def test_two_slots_run_two_at_a_time(lab: Path) -> None:
    (lab / "kladml.yaml").write_text("queue: {slots: 2}\n")
    held = hold(lab)
    add(lab, 3)
    wait_for(lambda: len(began(lab)) == 2, 60)
    wait_for(lambda: [state for _, state in shown(lab)] == ["running", "running", "queued"], 60)
    held.unlink()
    wait_until_empty(lab)
    assert sorted(began(lab)) == ["run_0001", "run_0002", "run_0003"]


def test_each_run_gets_a_gpu_of_its_own_by_uuid(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(queue, "gpus", pretended_gpus)
    held = hold(lab)
    add(lab, 3, "launch.device=auto")
    wait_for(lambda: len(began(lab)) == 2, 60)
    run = run_named(lab, "run_0001")
    record = run.read_attempt(1) or {}
    given = record["environment"]["values"]
    assert record["devices"] == [given["CUDA_VISIBLE_DEVICES"]] and given["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert shown(lab)[-1] == ("run_0003", "queued")
    held.unlink()
    wait_until_empty(lab)
    lines = [line.split() for line in (lab / "began.txt").read_text().splitlines()]
    assert sorted(words[2] for words in lines[:2]) == ["GPU-0", "GPU-1"]
    assert lines[2][0].endswith("run_0003") and lines[2][2] in ("GPU-0", "GPU-1")


def test_a_run_that_fails_stays_with_its_reason_the_next_goes_on_and_retry_is_a_new_run(lab: Path) -> None:
    (failing,) = add(lab, 1, f"seed={FAILS}")
    add(lab)
    wait_for(lambda: shown(lab) == [("run_0001", "failed")], 60)
    assert find_entry(lab / "data", "1").reason == "ValueError: thirteen"
    assert began(lab) == ["run_0001", "run_0002"]
    again = retry(find_entry(lab / "data", failing.reference), workspace=lab)
    assert again.reference.endswith("run_0003")
    wait_for(lambda: shown(lab) == [("run_0003", "failed")], 60)
    remove(lab / "data", find_entry(lab / "data", "3"))
    assert shown(lab) == []
    assert read_status(run_named(lab, "run_0003")).status == "failed"


def test_what_cannot_be_started_says_why_and_starts_once_that_is_mended(lab: Path) -> None:
    pause(lab / "data")
    add(lab, 2)
    (lab / "quick.py").rename(lab / "gone.py")
    proceed(load_settings(lab))
    wait_for(lambda: [state for _, state in shown(lab)] == ["failed", "failed"], 60)
    run, entry = run_named(lab, "run_0001"), find_entry(lab / "data", "1")
    assert "quick.py" in str(entry.reason)
    assert (read_status(run).status, read_status(run).reason) == ("failed", entry.reason)
    with pytest.raises(UnusableError, match="quick"):
        retry(entry, workspace=lab)
    (lab / "gone.py").rename(lab / "quick.py")
    again = retry(entry, workspace=lab)
    assert (again.reference, again.item.attempt) == (run.reference, 1)
    wait_for(lambda: read_status(run).status == "finished", 60)
    assert began(lab) == ["run_0001"]
