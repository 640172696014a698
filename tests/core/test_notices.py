"""Notices: the command hears of each end once, with every screen closed, and never holds anything up."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kladml_core.runs.background import holder, log_file
from kladml_core.runs.files import strict_dumps, write_json
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.notice_command import OUTPUT_BYTES, run_command
from kladml_core.runs.notices import PROCESS, is_news, listen, watched
from kladml_core.runs.processes import identity, is_alive
from kladml_core.runs.rundir import RunDirectory
from tests.system.faults import fill, small_disk
from tests.system.training import write_config
from tests.waiting import wait_for

SECONDS = 60.0


@pytest.fixture
def told(workspace: Path) -> Iterator[Path]:
    """A workspace whose command adds each event to a file."""
    file = workspace / "told.jsonl"
    (workspace / "kladml.yaml").write_text(f"notices: {{command: {json.dumps(f'cat >> {shlex.quote(str(file))}')}}}\n")
    yield file
    holding = holder(workspace / "data", PROCESS)
    if holding is not None:
        os.kill(holding["pid"], signal.SIGKILL)


def events_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def running(workspace: Path, process: subprocess.Popen[bytes], **changes: Any) -> RunDirectory:
    """A run whose worker is `process`."""
    run = RunDirectory.create(workspace / "data", "vision", "digits", "cnn", seed=0)
    run.claim_attempt()
    now = time.time()
    state = {"v": 1, "status": "running", "attempt": 1, "phase": "training", "step": 5, "started": now}
    write_json(
        run.state_json, {**state, **identity(process.pid).to_json(), "progress_at": now, "heartbeat": now, **changes}
    )
    return run


def write_events(run: RunDirectory, *steps: int) -> None:
    """What the worker wrote of steps whose loss was no number."""
    events = [
        {"v": 1, "seq": step, "attempt": 1, "time": time.time(), "kind": "non_finite", "step": step} for step in steps
    ]
    run.events.write_text("".join(f"{json.dumps(event)}\n" for event in events))


def nobody_listens(workspace: Path) -> bool:
    return holder(workspace / "data", PROCESS) is None and not watched(workspace / "data")


def test_a_run_that_finishes_is_told_once_and_the_process_ends(told: Path, workspace: Path) -> None:
    run = launch(prepare(write_config(workspace, epochs=1), workspace=workspace))
    wait_for(lambda: events_in(told), SECONDS, "nothing was told")
    wait_for(lambda: nobody_listens(workspace), SECONDS, "the process goes on")
    (event,) = events_in(told)
    assert (event["kind"], event["run"], event["exit_code"]) == ("run_finished", run.reference, 0)
    assert (event["uid"], event["path"]) == (run.read_run()["uid"], str(run.path))
    assert run.reference in event["text"]
    assert event["test"] is False


def test_a_killed_worker_and_a_value_that_is_no_number_are_told(
    told: Path, workspace: Path, process: subprocess.Popen[bytes]
) -> None:
    run = running(workspace, process)
    write_events(run, 3, 4)
    listen(run, 1, workspace)
    wait_for(lambda: [event["kind"] for event in events_in(told)] == ["non_finite"], SECONDS)
    process.kill()
    wait_for(lambda: len(events_in(told)) == 2, SECONDS, "the end was not told")
    lost = events_in(told)[1]
    assert (lost["kind"], lost["exit_code"]) == ("run_lost", 137)
    wait_for(lambda: nobody_listens(workspace), SECONDS)
    assert len(events_in(told)) == 2


def test_a_run_that_stands_still_is_told_once(told: Path, workspace: Path, process: subprocess.Popen[bytes]) -> None:
    run = running(workspace, process, progress_at=time.time() - 1000)
    listen(run, 1, workspace)
    wait_for(lambda: events_in(told), SECONDS)
    assert events_in(told)[0]["kind"] == "run_stalled"
    process.kill()
    wait_for(lambda: nobody_listens(workspace), SECONDS)
    wait_for(lambda: [event["kind"] for event in events_in(told)] == ["run_stalled", "run_lost"], SECONDS)


def test_a_killed_process_repeats_nothing_and_the_next_launch_takes_over(
    told: Path, workspace: Path, process: subprocess.Popen[bytes]
) -> None:
    first = running(workspace, process)
    write_events(first, 3)
    listen(first, 1, workspace)
    wait_for(lambda: len(events_in(told)) == 1, SECONDS)
    killed = wait_for(lambda: holder(workspace / "data", PROCESS))
    os.kill(killed["pid"], signal.SIGKILL)
    wait_for(lambda: holder(workspace / "data", PROCESS) is None, SECONDS)
    second = running(workspace, process)
    listen(second, 1, workspace)
    process.kill()
    wait_for(lambda: len(events_in(told)) == 3, SECONDS)
    wait_for(lambda: nobody_listens(workspace), SECONDS)
    found = sorted((event["kind"], event["run"]) for event in events_in(told))
    assert found == [("non_finite", first.reference), ("run_lost", first.reference), ("run_lost", second.reference)]


def test_a_command_that_fails_is_in_the_log_and_the_next_is_told(
    workspace: Path, process: subprocess.Popen[bytes]
) -> None:
    (workspace / "kladml.yaml").write_text("notices: {command: 'echo $KLADML_EVENT $KLADML_RUN; exit 9'}\n")
    run = running(workspace, process)
    listen(run, 1, workspace)
    process.kill()
    log = log_file(workspace / "data", PROCESS)
    wait_for(lambda: "exit code 9" in log.read_text(), SECONDS)
    assert f"run_lost {run.reference}" in log.read_text()
    wait_for(lambda: nobody_listens(workspace), SECONDS)


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = f"sleep 600 & echo $! > {shlex.quote(str(pid_file))}; wait"
    ran = run_command(command, {"kind": "run_finished", "run": "r"}, tmp_path, patience=1.0)
    assert ran.exit_code is None
    child = int(pid_file.read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


def test_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    ran = run_command("setsid sleep 50 & echo said", {"kind": "run_finished", "run": "r"}, tmp_path, patience=40.0)
    assert (ran.exit_code, ran.output) == (0, "said\n")
    assert time.monotonic() - began < 30


def test_a_command_that_never_ends_to_write_fills_nothing(tmp_path: Path) -> None:
    ran = run_command("yes", {"kind": "run_finished", "run": "r"}, tmp_path, patience=1.0)
    assert ran.exit_code is None
    assert 0 < len(ran.output) <= OUTPUT_BYTES


def test_a_command_that_reads_nothing_of_a_long_event_is_no_fault(tmp_path: Path) -> None:
    event = {"kind": "run_finished", "run": "r", "metrics": {f"metric {number}": number for number in range(50_000)}}
    assert run_command("exec <&-; echo done", event, tmp_path).output == "done\n"
    assert run_command("wc -c", event, tmp_path).output.strip() == str(len(strict_dumps(event)) + 1)


def test_the_end_by_a_signal_has_the_shell_s_code(tmp_path: Path) -> None:
    assert run_command("kill -9 $$", {"kind": "run_finished", "run": "r"}, tmp_path).exit_code == 137


def test_a_command_that_hangs_holds_up_no_other_notice(workspace: Path, process: subprocess.Popen[bytes]) -> None:
    told = workspace / "told"
    # The first notice waits for the second one, which would never come if they were told one after the other.
    command = (
        f"echo $KLADML_EVENT >> {told}; [ $KLADML_EVENT = run_lost ] || until grep -q lost {told}; do sleep 0.1; done"
    )
    (workspace / "kladml.yaml").write_text(f"notices: {{command: {json.dumps(command)}}}\n")
    run = running(workspace, process)
    write_events(run, 3)
    listen(run, 1, workspace)
    wait_for(told.exists, SECONDS)
    process.kill()
    wait_for(lambda: told.read_text().split() == ["non_finite", "run_lost"], SECONDS)
    wait_for(lambda: nobody_listens(workspace), SECONDS)
    assert log_file(workspace / "data", PROCESS).read_text().count("exit code 0") == 2


def test_two_launches_have_one_process(told: Path, workspace: Path, process: subprocess.Popen[bytes]) -> None:
    first, second = running(workspace, process), running(workspace, process)
    listen(first, 1, workspace)
    held = wait_for(lambda: holder(workspace / "data", PROCESS), SECONDS)
    listen(second, 1, workspace)
    # A second one that did not leave would tell everything twice.
    assert holder(workspace / "data", PROCESS) == held
    process.kill()
    wait_for(lambda: nobody_listens(workspace), SECONDS)
    assert sorted(event["run"] for event in events_in(told)) == [first.reference, second.reference]


def test_a_run_that_failed_is_told_with_its_last_values(
    told: Path, workspace: Path, process: subprocess.Popen[bytes]
) -> None:
    run = running(workspace, process, status="failed", exit_code=70)
    write_json(run.summary, {"train/loss": {"last": math.nan, "last_step": 7}})
    event = {"v": 1, "seq": 1, "attempt": 1, "time": 1.7e9, "kind": "run_failed", "step": 7, "exit_code": 70}
    run.events.write_text(f"{json.dumps(event)}\n")
    listen(run, 1, workspace)
    wait_for(lambda: events_in(told), SECONDS)
    (found,) = events_in(told)
    assert (found["kind"], found["status"], found["metrics"]) == ("run_failed", "failed", {"train/loss": "NaN"})
    wait_for(lambda: nobody_listens(workspace), SECONDS)


def test_a_run_that_cannot_be_read_silences_no_other(
    told: Path, workspace: Path, process: subprocess.Popen[bytes]
) -> None:
    damaged, sound = running(workspace, process), running(workspace, process)
    write_json(damaged.state_json, {"v": 1, "status": ["running"], "attempt": {}, "pid": "x"})
    damaged.events.write_text(
        '{"kind": ["run_failed"], "attempt": 1}\n{"kind": "non_finite", "attempt": 1, "step": {}}\n'
    )
    process.kill()
    for run in (damaged, sound):
        listen(run, 1, workspace)
    wait_for(lambda: sound.reference in [event["run"] for event in events_in(told)], SECONDS)
    wait_for(lambda: nobody_listens(workspace), SECONDS)


def test_a_full_disk_silences_nothing(told: Path, workspace: Path, process: subprocess.Popen[bytes]) -> None:
    with small_disk(workspace / "data", "1m"):
        run = running(workspace, process)
        run.events.write_text("\n")  # what is appended to it finds room in its first page
        listen(run, 1, workspace)
        held = wait_for(lambda: holder(workspace / "data", PROCESS), SECONDS)
        fill(workspace / "data")
        with run.events.open("a") as file:
            file.write(json.dumps({"v": 1, "seq": 1, "attempt": 1, "kind": "non_finite", "step": 3}) + "\n")
        wait_for(lambda: events_in(told), SECONDS)
        process.kill()
        wait_for(lambda: is_alive(held) is False, SECONDS)
        assert [event["kind"] for event in events_in(told)] == ["non_finite", "run_lost"]


def test_nothing_is_started_without_a_command(workspace: Path, process: subprocess.Popen[bytes]) -> None:
    listen(running(workspace, process), 1, workspace)
    assert not (workspace / "data" / ".background").exists()


def test_a_stop_that_was_asked_for_is_no_news() -> None:
    assert not is_news({"kind": "run_stopped", "reason": "stop requested"})
    assert is_news({"kind": "run_stopped", "reason": "max_time"})
    assert not is_news({"kind": "validation"})
