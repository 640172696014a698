"""The queue when processes die, files go and others meddle: no run is lost, none starts twice, none waits for ever."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs import background
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import is_alive
from kladml_core.runs.queue import pause, proceed, remove, remove_run
from kladml_core.runs.queue_items import KIND, item_file, queue_dir, read_items, run_of, write_item
from kladml_core.runs.queue_list import ensure_scheduler, find_entry
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.settings import load_settings
from tests.core.queue_workspace import add, began, queue_workspace, shown, wait_until_empty, wait_until_nobody_schedules
from tests.waiting import wait_for


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return queue_workspace(tmp_path, monkeypatch)


def test_a_run_whose_directory_is_gone_does_not_hold_up_the_others(lab: Path) -> None:
    pause(lab / "data")
    first, second = add(lab, 2)
    shutil.rmtree(run_of(lab / "data", first.item).path)
    proceed(load_settings(lab))
    wait_for(lambda: read_status(run_of(lab / "data", second.item)).status == "finished", 60)
    wait_for(lambda: shown(lab) == [("run_0001", "failed")], 60)
    remove(lab / "data", find_entry(lab / "data", "1"))
    assert shown(lab) == []


def test_a_queued_run_whose_item_is_gone_is_not_queued_for_ever(lab: Path) -> None:
    pause(lab / "data")
    (entry,) = add(lab)
    item_file(lab / "data", entry.item.number).unlink()
    status = read_status(run_of(lab / "data", entry.item))
    assert status.status == "lost" and "its place in the queue is gone" in str(status.reason)


def test_nobody_touches_what_another_user_or_another_host_queued(lab: Path) -> None:
    data = lab / "data"
    pause(data)
    theirs, elsewhere, mine = add(lab, 3)
    write_item(data, replace(theirs.item, uid=os.getuid() + 1, user="ada"))
    (data / "queue" / "gpu-99").mkdir()
    item_file(data, elsewhere.item.number).rename(data / "queue" / "gpu-99" / "0002.json")
    state = run_of(data, elsewhere.item).read_state() or {}
    write_json(run_of(data, elsewhere.item).state_json, {**state, "queue": {**state["queue"], "host": "gpu-99"}})
    proceed(load_settings(lab))
    wait_until_nobody_schedules(lab)
    wait_for(lambda: read_status(run_of(data, mine.item)).status == "finished", 60)
    assert began(lab) == ["run_0003"]
    assert shown(lab) == [("run_0001", "queued")]
    assert read_status(run_of(data, elsewhere.item)).status == "queued"
    with pytest.raises(UnusableError, match="in the queue of ada"):
        remove(data, find_entry(data, "1"))
    with pytest.raises(UnusableError, match="waits in the queue of gpu-99"):
        remove_run(run_of(data, elsewhere.item))


def test_schedulers_started_all_at_once_start_each_run_once(lab: Path) -> None:
    pause(lab / "data")
    add(lab, 4)
    (queue_dir(lab / "data") / f"paused-{os.getuid()}").unlink()
    words = ("tests.core.small_scheduler", str(lab))
    starters = [threading.Thread(target=background.ensure, args=(lab / "data", KIND, *words)) for _ in range(4)]
    for one in starters:
        one.start()
    for one in starters:
        one.join()
    wait_until_empty(lab)
    assert Counter(began(lab)) == Counter({f"run_{number:04d}": 1 for number in range(1, 5)})


def test_a_start_that_outlives_its_scheduler_is_neither_lost_nor_doubled(lab: Path) -> None:
    data = lab / "data"
    pause(data)
    (entry,) = add(lab)
    # As a scheduler leaves it that was killed just after it had written what it was about to do.
    write_item(data, replace(entry.item, state="starting", devices=("GPU-1",)))
    proceed(load_settings(lab))
    wait_until_empty(lab)
    assert began(lab) == ["run_0001"]


def test_an_item_whose_run_was_never_told_is_queued_all_the_same(lab: Path) -> None:
    pause(lab / "data")
    (entry,) = add(lab)
    run_of(lab / "data", entry.item).state_json.unlink()
    (queue_dir(lab / "data") / "0007.json").touch()  # claimed, and then its process was killed
    proceed(load_settings(lab))
    wait_until_empty(lab)
    assert began(lab) == ["run_0001"]


def is_dead(process: Mapping[str, Any]) -> bool:
    return is_alive(process) is False


def more_began(lab: Path, before: int) -> bool:
    return len(began(lab)) > before or not read_items(lab / "data")


def one_is_being_started(lab: Path) -> bool:
    items = read_items(lab / "data")
    return not items or any(item.state == "starting" for item in items)


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_a_scheduler_killed_again_and_again_loses_no_run_and_starts_none_twice(lab: Path, count: int) -> None:
    data, settings = lab / "data", load_settings(lab)
    (lab / "kladml.yaml").write_text("queue: {slots: 4}\n")
    pause(data)
    add(lab, count)
    proceed(settings)
    killed = 0
    while read_items(data):
        ensure_scheduler(settings)
        # Killed in turn while it starts a run, and once one has begun.
        moment = partial(one_is_being_started, lab) if killed % 2 else partial(more_began, lab, len(began(lab)))
        wait_for(moment, 120, f"nothing begins: {shown(lab)}")
        found = background.holder(data, KIND)
        if found is not None and read_items(data):
            os.kill(found["pid"], signal.SIGKILL)
            wait_for(partial(is_dead, found), 60)
            killed += 1
    assert killed >= count // 4
    assert Counter(began(lab)) == Counter({f"run_{number:04d}": 1 for number in range(1, count + 1)})
    assert {read_status(RunDirectory(path)).status for path in all_runs(data)} == {"finished"}
    assert list(queue_dir(data).iterdir()) == []
