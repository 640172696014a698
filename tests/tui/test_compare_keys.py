"""Marks, the comparison of marked runs, running again, and an event opened whole, by their keys."""

from __future__ import annotations

import json
import threading
from importlib import import_module
from pathlib import Path

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_tui.app import KladMLApp
from kladml_tui.commands import COMMANDS
from kladml_tui.run_looks import MARKERS
from kladml_tui.screens import repeat_keys
from kladml_tui.screens.compare_screen import CompareScreen
from kladml_tui.screens.editor import ConfigEditor
from kladml_tui.screens.event_screen import EventScreen
from kladml_tui.screens.reading import Page
from kladml_tui.widgets.compare_page import ComparePage
from kladml_tui.widgets.text_lines import TextLines
from tests.tui.shell import CONFIG, ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in
from tests.waiting import wait_for

HOSTILE = "[red]x[/red][@click=app.quit]y[/] \x1b[31m\u202e"
QUICK = """\
project: vision
family: digits
experiment: cnn
model: {target: "kladml_core.examples.diabetes:DiabetesMLP"}
data: {target: "kladml_core.examples.diabetes:load"}
training: {max_epochs: 1}
launch: {device: cpu}
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def row(app: KladMLApp, run: str) -> str:
    """The run's line in the table."""
    return next(line for line in screen_text(app).splitlines() if f"{run} " in line)


async def test_marks_stay_with_their_runs_through_filter_and_refresh(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for status in ("finished", "stopped", "finished"):
        a_run(workspace, status=status)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0003 finished", "space mark")
        await pilot.press("tab", "space", "down", "space")
        await shows(pilot, "2 marked")
        assert app.workbench.runs.marked == tuple(f"vision/digits/cnn/run_000{number}" for number in (3, 1))
        assert "✓*run_0003" in row(app, "run_0003") and "■ run_0002" in row(app, "run_0002")
        await pilot.press("slash", *"stopped", "enter")
        await shows(pilot, "1 of 3 match", "2 marked")
        await pilot.press("escape")
        a_run(workspace)
        await pilot.press("R")
        await shows(pilot, "run_0004", "✓*run_0003", "✓*run_0001")
        await pilot.press("U")
        await until(pilot, lambda: "marked" not in screen_text(app))


async def test_marks_of_runs_that_are_gone_are_taken_off(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    gone, _ = a_run(workspace), a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0002 finished", "space mark")
        await pilot.press("tab", "down", "space")
        await shows(pilot, "1 marked")
        gone.rename(tmp_path / "elsewhere")
        await pilot.press("R")
        await until(pilot, lambda: app.workbench.runs.marked == ())


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_the_difference_of_two_runs_is_shown_and_copied(tmp_path: Path, size: tuple[int, int]) -> None:
    workspace = workspace_in(tmp_path / "w")
    first, second = a_run(workspace), a_run(workspace, status="failed")
    (second / "config.yaml").write_text(CONFIG.replace("max_epochs: 1", f"max_epochs: 7, note: {json.dumps(HOSTILE)}"))
    record = {**json.loads((first / "attempts/001/attempt.json").read_text()), "host": HOSTILE}
    (second / "attempts/001/attempt.json").write_text(json.dumps(record))
    app = KladMLApp(workspace)
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(pilot, "run_0002 failed", "tab pane")
        await pilot.press("tab")
        await shows(pilot, "space mark")  # on a small screen the keys of the tree leave it no room
        await pilot.press("d")
        await shows(pilot, "Mark runs with space")
        await pilot.press("space", "d")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await shows(pilot, "2 runs compared")
        await pilot.press("tab")
        await shows(pilot, "run_0001", "run_0002", "failed 70")
        await pilot.press("G")
        await shows(pilot, "host", "gpu-01", "[red]x[/red]")
        assert "\x1b" not in screen_text(app) and "\u202e" not in screen_text(app)
        await pilot.press("y")
        await shows(pilot, "Copied")
        assert "training.max_epochs\t7\t1\n" in app.clipboard and "\x1b" not in app.clipboard
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)


async def test_many_runs_stand_one_under_the_other_on_a_small_screen(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for number in range(6):
        (a_run(workspace) / "config.yaml").write_text(f"{CONFIG}seed: {number}\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0006 finished", "tab pane")
        await pilot.press("tab")
        await shows(pilot, "space mark")
        await pilot.press(*["space"] * 6, "d")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await shows(pilot, "6 runs compared", "val/loss")
        await pilot.press("tab")
        await shows(pilot, "status  finished  in all 6")
        assert "epoch" not in screen_text(app)
        await pilot.press("a")
        await shows(pilot, "status  finished  in all 6", "epoch  1/10  in all 6")
        for key, title in (("n", "Metrics"), ("n", "Config"), ("N", "Metrics"), ("N", "Runs")):
            await pilot.press(key)
            await until(pilot, lambda title=title: screen_text(app).splitlines()[2].strip() == title)
        assert screen_text(app).splitlines()[-1].rstrip().endswith("? help  q close")
        told = app.screen.query_one(ComparePage).plain
        for marker in MARKERS:
            told = told.replace(f"\n{marker} ", "\n  ")
        assert "\n".join(["seed", *(f"  run_000{number + 1}  {number}" for number in reversed(range(6)))]) in told
        assert max(map(len, told.splitlines())) < SMALL[0]


async def test_a_failed_run_is_run_again_from_what_it_recorded(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    path = a_run(workspace, status="lost")
    (path / "config.yaml").write_text(QUICK)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "run_0001 lost", "a again")
        await pilot.press("a")
        await shows(pilot, "Run again", "run_0002 is starting")
        await until(pilot, lambda: (app.workbench.runs.cursor_key or "").endswith("run_0002"), timeout=60)
        # One that lives is not run again.
        live = read_status(RunDirectory(path.parent / "run_0002")).live
        assert not live or app.workbench.check_action("again", ()) is False
    again = RunDirectory(path.parent / "run_0002")
    wait_for(lambda: not read_status(again).live, 90.0)
    assert (again.read_attempt(1) or {})["cloned_from"]["reference"] == "vision/digits/cnn/run_0001"


async def test_a_copy_launched_from_the_editor_knows_where_it_comes_from(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    (a_run(workspace) / "config.yaml").write_text(QUICK)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001 finished", "n clone")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor) and "DiabetesMLP" in screen_text(app))
        await pilot.press("escape", "t")
        await shows(pilot, "is not saved", "save it and launch")
        await pilot.press("w")
        await until(pilot, lambda: (app.workbench.runs.cursor_key or "").endswith("run_0002"), timeout=60)
    run = RunDirectory(workspace / "data/projects/vision/digits/cnn/run_0002")
    wait_for(lambda: not read_status(run).live, 90.0)
    assert (run.read_attempt(1) or {})["cloned_from"]["reference"] == "vision/digits/cnn/run_0001"


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_an_event_opens_whole_with_the_traceback(tmp_path: Path, size: tuple[int, int]) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = RunDirectory.create(workspace / "data", "vision", "digits", "cnn", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running", phase="training")
    message = f"{HOSTILE} " + "a long message " * 40 + "and its end"
    log.event("run_failed", step=3, exit_code=1, message=message, reason="ValueError", hint="mend it")
    log.status("failed", exit_code=1, reason="ValueError")
    log.close()
    stack = 'Traceback (most recent call last):\n  File "net.py", line 3\nValueError: [/bold] unwell'
    run.console_log.write_text(f"epoch 1\n{stack}\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(pilot, "run_0001 failed")
        await pilot.press("2", "tab", "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, EventScreen))
        await shows(pilot, "and its end", "exit code", "[red]x[/red]")
        await until(pilot, lambda: "unwell" in app.screen.query_one(Page).plain)
        await pilot.press("G")
        await shows(pilot, 'File "net.py", line 3', "ValueError: [/bold] unwell")
        await pilot.press("y")
        await shows(pilot, "Copied")
        assert stack in app.clipboard and "a long message " * 40 in app.clipboard and "\x1b" not in app.clipboard
        await pilot.press("q")
        await until(pilot, lambda: app.screen is app.workbench)


async def test_resume_is_offered_only_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace, "p/f/with", status="stopped")
    path = a_run(workspace, "p/f/without", status="failed")
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "last_checkpoint": None}))
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "without", "a again")
        app.workbench.nodes.reveal("runs:p/f/without")
        await until(pilot, lambda: app.workbench.runs.cursor_key == "p/f/without/run_0001")
        await until(pilot, lambda: "a again" in screen_text(app) and "r resume" not in screen_text(app))
        app.workbench.nodes.reveal("runs:p/f/with")
        await shows(pilot, "run_0001 stopped", "r resume")


async def test_a_config_that_is_deleted_leaves_the_cursor_above_it(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    other = workspace / "data" / "configs" / "other.yaml"
    other.write_text(CONFIG)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "other.yaml", "t train")
        (workspace / "data" / "configs" / "digits.yaml").unlink()
        await pilot.press("R")
        await shows(pilot, "digits.yaml is gone")
        assert app.workbench.config_here is None and app.workbench.nodes.cursor_key == "configs"


async def test_curves_of_marked_runs_lie_over_one_another_and_are_grouped_by_seed(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for seed in range(3):
        run = a_run(workspace)
        (run / "config.yaml").write_text(f"{CONFIG}seed: {seed}\n")
    (run / "metrics" / "val%2Floss.bin").unlink()
    (run / "metrics" / "%5B%2Fred%5Dx.bin").write_bytes((run / "metrics" / "train%2Floss.bin").read_bytes())
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0003 finished", "space mark")
        await pilot.press("tab", "space", "space", "space", "d")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await shows(pilot, "3 runs compared", "val/loss", "1 without it", "run_0002 0.25")
        await pilot.press("v")
        await shows(pilot, "train/loss", "2/3", "run_0003 0.1", "smoothing 0.6")
        legend = next(line for line in screen_text(app).splitlines() if "run_0003 0.1" in line)
        assert len([marker for marker in MARKERS if f"━{marker} " in legend]) == 3
        await pilot.press("s")
        await shows(pilot, "1 groups, mean ± deviation", "run_0003 +2 n=3", "seeds", "0.1 ± 0")
        await pilot.press("s", "a")
        await until(pilot, lambda: "all runs" in app.screen.query_one(ComparePage).plain)
        await pilot.press("slash")
        await shows(pilot, "type a part of its name")
        await pilot.press(*"red", "enter")
        await shows(pilot, "[/red]x", "2 without it")
        await pilot.press("question_mark")
        await shows(pilot, "Here: comparing runs", "Choose the metric by its name.")
        await pilot.press("escape", "q")
        await until(pilot, lambda: app.screen is app.workbench)


async def test_values_of_a_live_run_come_into_the_comparison(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    live = RunDirectory(a_run(workspace, status="running"))
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0002 running", "tab pane")
        await pilot.press("tab")
        await shows(pilot, "space mark")  # on a small screen the keys of the tree may leave it no room
        await pilot.press("space", "space")
        await shows(pilot, "2 marked")
        await pilot.press("d")
        await shows(pilot, "2 runs compared", "run_0002 0.25")
        log = RunLog(live, 1)
        log.log_metrics({"val/loss": 0.125}, 30)
        log.close()
        await shows(pilot, "run_0002 0.125")


async def test_the_help_of_the_comparison_names_a_person_s_own_keys(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    (workspace / "kladml.yaml").write_text("ui: {keymap: {run.stop: W, run.clone: ctrl+nonsense}}\n")
    a_run(workspace), a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0002 finished", "space mark")
        await pilot.press("tab", "space", "space", "d")
        await shows(pilot, "2 runs compared", "run_0002 0.25")
        await pilot.press("question_mark")
        await shows(pilot, "Here: comparing runs")
        told = app.screen.query_one("#help", TextLines).plain.splitlines()
        keys = {command.id: line.split()[0] for command in COMMANDS for line in told if line.endswith(command.help)}
        assert keys["run.stop"] == "W" and keys["run.clone"] == "n"


async def test_the_comparison_is_loaded_while_the_screen_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_in: list[threading.Thread] = []

    def load(name: str) -> object:
        loaded_in.append(threading.current_thread())
        return import_module(name)

    monkeypatch.setattr(repeat_keys, "import_module", load)
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace), a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0002 finished", "space mark")
        await pilot.press("tab", "space", "space", "d")
        await shows(pilot, "2 runs compared")
    assert loaded_in and threading.main_thread() not in loaded_in
