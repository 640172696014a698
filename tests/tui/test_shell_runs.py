"""What is done with configs and runs on the workbench, by its keys: train, stop, resume, clone, edit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kladml_core.runs.processes import is_alive
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_tui.app import KladMLApp
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.editor import ConfigEditor
from tests.tui.shell import CONFIG, ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in
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


async def test_a_wrong_config_is_told_once_and_opened_at_its_line(tmp_path: Path) -> None:
    wrong = CONFIG + "seed: 1\ntrainig: {}\n"
    workspace = workspace_in(tmp_path / "w", config=wrong)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "experiment: cnn", "t train")
        await pilot.press("t")
        await shows(pilot, "Not launched", "digits.yaml:8", "Did you mean", "open digits.yaml at line 8")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor) and "trainig" in screen_text(app))
        editor = app.screen
        assert isinstance(editor, ConfigEditor)
        await until(pilot, lambda: editor._area.cursor_location[0] == 7)
        await pilot.press("escape", "q")
        await until(pilot, lambda: app.screen is app.workbench)
    assert not (workspace / "data" / "projects").exists()


async def test_a_run_is_trained_watched_stopped_and_resumed_by_keys(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w", config=QUICK)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "experiment: quick", "t train")
        await pilot.press("t")
        await until(pilot, lambda: "● run_0001 running" in screen_text(app), timeout=60)
        await until(pilot, lambda: "train/loss" in screen_text(app), timeout=30)
        await pilot.press("s")
        await shows(pilot, "Stop vision/diabetes/quick/run_0001?")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        await pilot.press("s", "s")
        await until(pilot, lambda: "■ run_0001 stopped" in screen_text(app), timeout=30)
        await shows(pilot, "r resume")
        await pilot.press("r")
        await until(pilot, lambda: "attempt 2" in screen_text(app) and "● run_0001" in screen_text(app), timeout=60)
        # Leaving the app ends nothing.
        await pilot.press("q")
    run = RunDirectory(workspace / "data/projects/vision/diabetes/quick/run_0001")
    state = run.read_state() or {}
    assert is_alive(state) is True
    again = KladMLApp(workspace)
    async with again.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "● run_0001 running" in screen_text(again), timeout=30)
        step = read_status(run).step
        wait_for(lambda: read_status(run).step > step)
        # The ladder's second rung; a key counts once it is offered.
        await shows(pilot, "s stop")
        await pilot.press("S")
        await until(pilot, lambda: isinstance(again.screen, Ask))
        await pilot.press("S")
        await until(pilot, lambda: not read_status(run).live, timeout=30)
    assert read_status(run).status == "stopped"


async def test_stop_asks_writes_a_request_and_takes_it_back(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    path = a_run(workspace, status="running")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "● run_0001 running", "s stop")
        await pilot.press("s")
        await shows(pilot, "Stop vision/digits/cnn/run_0001?", "esc")
        assert not list((path / "control").iterdir())
        await pilot.press("s")
        await until(pilot, (path / "control" / "stop.json").exists)
        await shows(pilot, "only asked, ", "u undoes")
        assert json.loads((path / "control" / "stop.json").read_text())["attempt"] == 1
        # A second press says what can be done now; the run is this process, to which the app sends no signal.
        await pilot.press("s")
        await shows(pilot, "run_0001: asked to stop; waiting", "send SIGTERM now", "let it go on")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        await shows(pilot, "u undo stop")
        await pilot.press("u")
        await until(pilot, lambda: not (path / "control" / "stop.json").exists())
        await shows(pilot, "Not stopped", "withdrawn")
        await until(pilot, lambda: "u undo stop" not in screen_text(app))


async def test_resuming_from_a_checkpoint_that_is_gone_is_one_notice(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace, status="failed")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "✗ run_0001 failed", "r resume")
        await pilot.press("r")
        await shows(pilot, "Not resumed", "no checkpoint")


async def test_clone_opens_a_copy_of_the_config_that_is_a_file_once_it_is_saved(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "✓ run_0001 finished")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor) and "experiment: cnn" in screen_text(app))
        await pilot.press("escape", "q")
        await until(pilot, lambda: app.screen is app.workbench)
        copy = workspace / "data" / "configs" / "cnn-0001.yaml"
        assert not copy.exists()
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor) and "experiment: cnn" in screen_text(app))
        await pilot.press("escape", "w")
        await until(pilot, copy.exists, "never saved")
    assert copy.read_text() == f"# Copied from vision/digits/cnn/run_0001\n{CONFIG}"


async def test_a_config_edited_in_the_app_is_shown_anew(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "experiment: cnn", "e edit")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor) and "experiment: cnn" in screen_text(app))
        await pilot.press("ctrl+home", *"# mine", "enter", "escape", "w")
        await until(
            pilot, lambda: (workspace / "data/configs/digits.yaml").read_text().startswith("# mine"), "never saved"
        )
        await pilot.press("q")
        await until(pilot, lambda: app.screen is app.workbench)
        await shows(pilot, "# mine")


async def test_without_an_editor_e_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    app = KladMLApp(workspace_in(tmp_path / "w"))
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "experiment: cnn")
        await pilot.press("E")
        await shows(pilot, "$EDITOR is not set")


async def test_copying_says_what_was_copied(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "✓ run_0001 finished")
        await pilot.press("y")
        await shows(pilot, "Copied")
        assert app.clipboard == "vision/digits/cnn/run_0001"


async def test_the_end_of_a_run_out_of_sight_is_told_once(tmp_path: Path) -> None:
    from kladml_core.backends.run_log import RunLog

    workspace = workspace_in(tmp_path / "w")
    seen = RunDirectory(a_run(workspace, "a/b/seen"))
    run = RunDirectory.create(workspace / "data", "a", "b", "other", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running", phase="training")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "1 running")
        app.workbench.reveal_run(seen)
        await shows(pilot, "✓ run_0001 finished")
        await until(pilot, lambda: app.monitor.snapshot(run.reference) is not None)
        log.event("run_failed", step=1, exit_code=70, reason="train/loss is NaN")
        log.status("failed", exit_code=70, reason="train/loss is NaN")
        log.close()
        await shows(pilot, "a/b/other/run_0001 failed: train/loss is NaN", "nothing running")
        assert len(app._notifications) == 1


async def test_a_workspace_that_cannot_be_written_is_one_notice(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    workspace = workspace_in(tmp_path / "w")
    (workspace / "data").chmod(0o500)
    app = KladMLApp(workspace)
    try:
        async with app.run_test(size=ROOMY, notifications=True) as pilot:
            await shows(pilot, "experiment: cnn")
            await pilot.press("t")
            await shows(pilot, "Not launched", "cannot create a run")
    finally:
        (workspace / "data").chmod(0o700)
