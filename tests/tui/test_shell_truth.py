"""What the workbench says of runs that were killed, stopped, stalled, or never gave a value."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from kladml_core.runs.files import write_json
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.process_tree import ProcessTree
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_tui.app import KladMLApp
from kladml_tui.screens.ask import Ask
from tests.tui.shell import ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in
from tests.waiting import wait_for

QUICK = """\
project: vision
family: diabetes
experiment: quick
model: {target: "kladml_core.examples.diabetes:DiabetesMLP"}
data: {target: "kladml_core.examples.diabetes:load"}
training: {max_epochs: 100000, log_every: 1}
launch: {device: cpu}
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


async def test_a_killed_run_is_told_at_once_with_its_reason(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w", config=QUICK)
    run = launch(prepare(workspace / "data/configs/digits.yaml", workspace=workspace))
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await until(pilot, lambda: "● run_0001 running" in screen_text(app), timeout=60)
        pid = read_status(run).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # Two seconds are promised; a busy machine may take longer to draw.
        await until(pilot, lambda: "! run_0001 lost" in screen_text(app), timeout=10)
        await shows(pilot, f"process {pid} is gone", "nothing running")
    assert (read_status(run).status, read_status(run).exit_code) == ("lost", 137)


async def test_a_run_that_heeds_nothing_is_stopped_with_a_countdown_in_its_line(tmp_path: Path) -> None:
    deaf = QUICK.replace("log_every: 1", "log_every: 1, grace_seconds: 3")
    workspace = workspace_in(tmp_path / "w", config=deaf)
    run = launch(prepare(workspace / "data/configs/digits.yaml", workspace=workspace))
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await until(pilot, lambda: "● run_0001 running" in screen_text(app), timeout=60)
        pid = read_status(run).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # it answers neither a request nor, until it is woken, a signal
        await shows(pilot, "s stop")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("s")
        await shows(pilot, "SIGTERM in ", "s, u undoes", "u undo stop")
        await until(pilot, lambda: "■ run_0001 stopped" in screen_text(app), timeout=60)
    assert (read_status(run).status, read_status(run).exit_code) == ("stopped", 143)
    wait_for(lambda: not ProcessTree(run, 1).look())


async def test_stalled_and_silent_runs_are_counted_apart_and_say_what_is_the_matter(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for changes in ({}, {"progress_at": time.time() - 300}, {"host": "gpu-7[/x]", "heartbeat": time.time() - 90}):
        run = RunDirectory(a_run(workspace, status="running"))
        write_json(run.state_json, {**(run.read_state() or {}), "progress_at": time.time() + 600, **changes})
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "1 running · 1 stalled · 1 silent", "◌ run_0003 silent", "● run_0002 stalled")
        await shows(pilot, "no heartbeat for 1m3", "gpu-7[/x] cannot be looked at from here", "no progress for 5m0")


async def test_a_run_that_failed_before_its_first_value_says_so_where_its_curves_would_be(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = RunDirectory(a_run(workspace, status="failed", steps=1))
    shutil.rmtree(run.metrics)
    reason = "ValueError: the batch [/red] is empty"
    write_json(run.state_json, {**(run.read_state() or {}), "reason": reason, "exit_code": 1})
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, f"failed: {reason}", "✗ run_0001 failed")
        await until(pilot, lambda: "no values yet" not in screen_text(app))
