"""The run's view and the list of runs: live, true, and calm with ten thousand of them."""

from __future__ import annotations

import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from textual.widget import Widget

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory
from kladml_tui.app import KladMLApp
from kladml_tui.run_line import duration, moment, number, preferred, size
from tests.tui.shell import ROOMY, SMALL, a_damaged_run, a_run, many_runs, screen_text, shows, until, workspace_in


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


async def test_what_a_run_logs_comes_to_the_screen_while_it_runs(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running", started=time.time(), phase="training")
    app = KladMLApp(workspace)
    try:
        async with app.run_test(size=ROOMY) as pilot:
            await shows(pilot, "● run_0001 running", "1 running", "no values yet")
            log.log_metrics({"train/loss": 0.8125, "val/accuracy": 0.5}, 3)
            await shows(pilot, "val/accuracy 0.5 @3", "loss", "accuracy")
            log.log_metrics({"val/loss": 0.6789}, 4)
            log.event("checkpoint_saved", step=4, name="step-0000000004", best=True, bytes=2_500_000, seconds=0.012)
            await shows(pilot, "val/loss 0.6789 @4", "checkpoint saved", "2.5 MB", "12 ms")
            log.log_metrics({"val/loss": math.nan}, 5)
            await shows(pilot, "val/loss NaN @5")
            log.event("run_finished", step=5, exit_code=0)
            log.status("finished", exit_code=0)
            await shows(pilot, "✓ run_0001 finished", "nothing running", "run finished")
    finally:
        log.close()


async def test_values_that_come_draw_their_own_lines_and_lay_nothing_out_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = RunDirectory(a_run(workspace, status="running"))
    log = RunLog(run, 1)
    laid_out: list[str] = []
    refresh = Widget.refresh

    def watched(widget: Widget, *regions: Any, **options: Any) -> Any:
        if options.get("layout"):
            laid_out.append(f"{type(widget).__name__} {widget.id}")
        return refresh(widget, *regions, **options)

    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "● run_0001 running", "val/loss 0.25 @20", "train/loss 0.1")
        monkeypatch.setattr(Widget, "refresh", watched)
        for step in range(21, 25):
            log.log_metrics({"train/loss": step / 1000, "val/loss": step / 100}, step)
            await shows(pilot, f"train/loss {step / 1000:g}", f"val/loss {step / 100:g} @{step}")
        assert not laid_out
    log.close()


async def test_each_end_is_shown_as_what_it_was(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for status in ("finished", "failed", "stopped", "lost"):
        a_run(workspace, status=status)
    a_damaged_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "✓ run_0001 finished", "✗ run_0002 failed", "■ run_0003 stopped", "! run_0004 lost")
        await shows(pilot, "? run_0005 damaged", "run.json is missing or damaged")
        assert "nothing running" in screen_text(app)
        await pilot.press("tab", "down")
        await shows(pilot, "process", "gone", "run lost")
        await pilot.press("down", "down")
        await shows(pilot, "train/loss is NaN (exit 70)", "run failed")


async def test_each_tab_shows_its_part(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "train/loss")
        for key, words in {
            "2": ("checkpoint saved", "run started", "run finished"),
            "3": ("line 99",),
            "4": ("experiment: cnn", "the resolved config"),
            "5": ("no checkpoint yet",),
            "6": ("ada on gpu-01", "attempt 1"),
            "1": ("loss",),
        }.items():
            await pilot.press(key)
            await shows(pilot, *words)


async def test_the_console_goes_on_while_the_run_prints(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    path = a_run(workspace, status="running")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        await pilot.press("tab", "3")
        await shows(pilot, "line 99")
        with (path / "console.log").open("ab") as console:
            console.write(b"epoch 1: 10%\repoch 1: 100%\r\n\x1b[31mred\x1b[0m \x1b]0;title\x07 half a li")
        await shows(pilot, "epoch 1: 100%", "red", "half a li")
        assert "10%\n" not in screen_text(app)
        # Who reads further up is left there.
        await pilot.press("tab", "g")
        await shows(pilot, "line 0")
        with (path / "console.log").open("ab") as console:
            console.write(b"ne\nlater\n")
        await pilot.pause(0.6)
        assert "line 0\n" in "\n".join(line.strip() for line in screen_text(app).splitlines())
        await pilot.press("G")
        await shows(pilot, "half a line", "later")


async def test_the_filter_narrows_by_name_and_status(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for status in ("finished", "failed", "finished"):
        a_run(workspace, status=status)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "run_0002", "run_0003", "nothing running")
        await pilot.press("slash", *"failed")
        await shows(pilot, "1 of 3 match 'failed'")
        assert app.workbench.runs.keys == ("vision/digits/cnn/run_0002",)
        await pilot.press("x")
        await shows(pilot, "0 of 3 match 'failedx'", "no run matches; esc shows all again")
        await pilot.press(*["backspace"] * 7, *"val/los<1")
        await shows(pilot, "metric or parameter 'val/los'; did you mean val/loss?")
        await pilot.press(*["backspace"] * 9, *"failed")
        await shows(pilot, "1 of 3 match 'failed'")
        assert "no run matches" not in screen_text(app)
        await pilot.press("enter")
        assert app.focused is app.workbench.runs
        await pilot.press("escape")
        await until(pilot, lambda: len(app.workbench.runs.keys) == 3)


async def test_where_the_titles_have_no_room_they_end_before_what_the_list_holds(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0001", "nothing running")
        await pilot.press("slash", *"val/loss<0.5 finished")
        await shows(pilot, "…  1 of 1 match")


async def test_a_new_run_appears_on_top_and_the_cursor_stays(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for _ in range(3):
        a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0003", "train/loss")
        await pilot.press("tab", "down")
        a_run(workspace, status="running")
        await pilot.press("R")
        await shows(pilot, "● run_0004 running", "1 running")
        assert app.workbench.runs.keys[0].endswith("run_0004")
        assert app.workbench.runs.cursor_key == "vision/digits/cnn/run_0002"


async def test_with_ten_thousand_runs_the_thread_of_the_screen_opens_no_file_and_makes_only_rows_in_sight(
    tmp_path: Path,
) -> None:
    workspace = workspace_in(tmp_path / "w")
    many_runs(workspace, 10_000)
    screen, opened = threading.get_ident(), list[str]()
    watching = True

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in ("open", "os.scandir", "os.listdir") and threading.get_ident() == screen:
            opened.append(str(arguments[0]))

    app = KladMLApp(workspace)
    sys.addaudithook(audit)  # for good: there is no taking it away, only `watching`
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "10,000 runs", "run_10000 finished")
        await pilot.press("tab", "G")
        await shows(pilot, "▌✓ run_0001  finished", " ✓ run_0002  finished")
        await pilot.press("slash", *"run_77")
        await shows(pilot, "100 of 10,000 match")
        await until(pilot, lambda: app.workbench.look.complete)
        assert len(app.workbench.runs._strips) < 200
    watching = False
    assert not [path for path in opened if path.startswith(str(workspace))]


async def test_the_metrics_can_be_gone_through(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.log_metrics({"train/loss": 1.0, "train/learning_rate": 1e-3, "val/accuracy": 0.5, "odd": 7.0}, 1)
    log.log_metrics({"train/loss": 0.5, "train/learning_rate": 1e-3, "val/accuracy": 0.75, "odd": 8.0}, 2)
    log.status("finished", exit_code=0)
    log.close()
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "━━ train/loss")
        await pilot.press("tab", "tab", "v")
        await shows(pilot, "━━ val/accuracy 0.75")
        await pilot.press("V", "V")
        await shows(pilot, "━━ train/learning_rate")


def test_figures_are_short_and_true() -> None:
    assert [number(value) for value in (0.041123, 1234567.0, 0.00001234, math.nan, -math.inf, 0.0)] == [
        "0.04112",
        "1.235e6",
        "1.234e-5",
        "NaN",
        "-inf",
        "0",
    ]
    assert [duration(seconds) for seconds in (0.4, 59.9, 131, 3900, 273600, None, math.nan)] == [
        "0s",
        "59s",
        "2m11s",
        "1h05m",
        "3d04h",
        "",
        "",
    ]
    assert [size(count) for count in (812, 1_234_567, 999_600, 5e12)] == ["812 B", "1.2 MB", "1.0 MB", "5.0 TB"]
    assert moment(None) == moment(-1.0) == moment(math.inf) == ""


def test_the_validation_loss_says_most_of_a_run() -> None:
    assert preferred({"train/loss": 1, "val/loss": 1, "val/accuracy": 1}) == "val/loss"
    assert preferred({"train/loss": 1, "val/accuracy": 1}) == "val/accuracy"
    assert preferred({"b": 1, "a": 1}) == "a"
    assert preferred({}) is None
