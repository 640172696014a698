"""Status told truly: a dead run never reads running, and every damaged shape of a directory is shown as what it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.files import read_json, write_json
from kladml_core.runs.processes import identity, is_alive
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status, reconcile
from tests.waiting import wait_for


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path, "vision", "digits", "cnn", seed=0)
    run.claim_attempt()
    return run


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def state_of(of: int | None = None, **changes: Any) -> dict[str, Any]:
    now = time.time()
    base = {"v": 1, "status": "running", "attempt": 1, "phase": "training", "epoch": 1, "step": 5, "started": now - 9}
    return {**base, **identity(of).to_json(), "progress_at": now, "heartbeat": now, **changes}


def test_a_living_worker_is_running(run: RunDirectory, process: subprocess.Popen[bytes]) -> None:
    write_json(run.state_json, state_of(process.pid))
    status = reconcile(run)
    assert (status.status, status.step, status.stalled) == ("running", 5, False)
    assert not run.lost_json.exists()


def test_a_killed_worker_is_lost_even_as_a_zombie(run: RunDirectory, process: subprocess.Popen[bytes]) -> None:
    write_json(run.state_json, state_of(process.pid))
    process.kill()  # nobody has waited for it: it stays a zombie until this test ends
    status = wait_for(lambda: (found := reconcile(run)).status == "lost" and found)
    assert status.exit_code == 137
    assert str(process.pid) in str(status.reason)
    assert Path(f"/proc/{process.pid}").exists()
    assert read_json(run.lost_json)["attempt"] == 1
    assert read_json(run.state_json)["status"] == "running"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"start_time": 1.0}, "lost"),
        ({"boot_id": "another"}, "lost"),
        ({"boot_id": "another", "status": "starting"}, "lost"),
        ({"boot_id": "another", "status": "stopping"}, "lost"),
        ({"boot_id": "another", "status": "finished"}, "finished"),
        ({"host": "elsewhere", "boot_id": "another"}, "running"),
        ({"pid_ns": 1, "start_time": 1.0}, "running"),
        ({"uid": 65533, "start_time": 1.0}, "running"),
        ({"pid": None}, "running"),
    ],
)
def test_only_a_process_that_can_be_looked_at_is_declared_dead(
    run: RunDirectory, changes: dict[str, Any], status: str
) -> None:
    write_json(run.state_json, state_of(**changes))
    assert reconcile(run).status == status
    assert run.lost_json.exists() == (status == "lost")


def test_silence_from_another_host_is_told_and_never_called_death(run: RunDirectory) -> None:
    write_json(run.state_json, state_of(host="elsewhere", boot_id="b", heartbeat=time.time() - 300))
    status = reconcile(run)
    assert status.status == "running"
    assert "no heartbeat for 5m00s" in str(status.reason)


def test_another_hosts_finding_counts_for_those_who_cannot_look(run: RunDirectory) -> None:
    write_json(run.state_json, state_of(host="elsewhere"))
    write_json(run.lost_json, {"attempt": 1, "by": {"host": "elsewhere"}, "cause": "killed"})
    assert read_status(run).status == "lost"
    write_json(run.state_json, state_of(host="elsewhere", attempt=2))
    assert read_status(run).status == "running", "a finding about an earlier attempt says nothing of this one"


def test_a_finding_never_overrules_a_worker_seen_alive(run: RunDirectory, process: subprocess.Popen[bytes]) -> None:
    write_json(run.state_json, state_of(process.pid))
    write_json(run.lost_json, {"attempt": 1, "by": {}, "cause": "a mistake"})
    assert read_status(run).status == "running"


def test_a_worker_that_died_after_its_last_event_did_what_it_said(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.event("run_finished", step=9, exit_code=0)
    log.close()
    write_json(run.state_json, state_of(start_time=1.0))
    assert (read_status(run).status, read_status(run).exit_code) == ("finished", 0)


@pytest.mark.parametrize(
    ("changes", "stalled"),
    [
        ({"progress_at": 200.0}, True),
        ({"progress_at": 60.0}, False),
        ({"progress_at": 200.0, "step_seconds": 30.0}, False),
        ({"progress_at": 700.0, "step_seconds": 30.0}, True),
        ({"progress_at": 9000.0, "phase": "compiling"}, False),
        ({"progress_at": 200.0, "status": "stopping"}, False),
    ],
)
def test_a_run_is_stalled_by_its_own_pace(run: RunDirectory, changes: dict[str, Any], stalled: bool) -> None:
    write_json(run.state_json, state_of(**{**changes, "progress_at": time.time() - changes["progress_at"]}))
    assert read_status(run).stalled is stalled


def _no_run_json(run: RunDirectory) -> None:
    run.run_json.unlink()
    write_json(run.state_json, state_of())


def _torn_run_json(run: RunDirectory) -> None:
    run.run_json.write_text('{"v":1,"uid"')
    write_json(run.state_json, state_of())


def _list_in_run_json(run: RunDirectory) -> None:
    run.run_json.write_text("[1]")
    write_json(run.state_json, state_of())


def _torn_state(run: RunDirectory) -> None:
    run.state_json.write_text('{"status": "run')


def _unknown_status(run: RunDirectory) -> None:
    write_json(run.state_json, state_of(status="dancing"))


def _bytes_in_state(run: RunDirectory) -> None:
    run.state_json.write_bytes(b"\xff\xfe\x00")


def _state_is_a_directory(run: RunDirectory) -> None:
    run.state_json.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        _no_run_json,
        _torn_run_json,
        _list_in_run_json,
        _torn_state,
        _unknown_status,
        _bytes_in_state,
        _state_is_a_directory,
    ],
)
def test_a_damaged_directory_is_shown_as_damaged(run: RunDirectory, damage: Callable[[RunDirectory], None]) -> None:
    damage(run)
    _age(run)
    status = reconcile(run)
    assert status.status == "damaged"
    assert "json" in str(status.damaged)


def test_a_directory_without_a_state_is_starting_at_first_and_damaged_later(run: RunDirectory) -> None:
    assert read_status(run).status == "starting"
    _age(run)
    assert read_status(run).status == "damaged"


def test_a_directory_claimed_a_moment_ago_is_starting(tmp_path: Path) -> None:
    path = tmp_path / "projects" / "p" / "f" / "e" / "run_0001"
    path.mkdir(parents=True)
    assert read_status(RunDirectory(path)).status == "starting"
    os.utime(path, (1000.0, 1000.0))
    assert read_status(RunDirectory(path)).status == "damaged"


def test_a_lost_state_is_made_good_by_the_last_event(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.event("run_failed", step=4, exit_code=70, reason="the loss is NaN")
    log.close()
    run.state_json.write_text("")
    status = read_status(run)
    assert (status.status, status.exit_code, status.reason) == ("failed", 70, "the loss is NaN")


def test_numbers_of_the_wrong_kind_in_a_state_do_not_break_the_reader(run: RunDirectory) -> None:
    write_json(run.state_json, state_of(step="many", epoch=None, heartbeat="soon", pid="x", exit_code=[], reason=3))
    status = read_status(run)
    assert (status.status, status.step, status.epoch, status.reason) == ("running", 0, 0, None)


def test_this_process_is_alive_and_a_pid_that_never_was_is_not() -> None:
    record = identity().to_json()
    assert is_alive(record) is True
    assert is_alive({**record, "pid": 2**22 + 1}) is False
    assert is_alive({**record, "pid": True}) is None
    assert is_alive({}) is None


def _age(run: RunDirectory) -> None:
    run_json = read_json(run.run_json)
    if isinstance(run_json, dict):
        write_json(run.run_json, {**run_json, "created": time.time() - 3600})
    os.utime(run.path, (1000.0, 1000.0))
