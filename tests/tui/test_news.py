"""News on the screen: what is told of runs that are out of sight, the bell, and the page of notices."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory
from kladml_tui import news
from kladml_tui.app import KladMLApp
from kladml_tui.look import RunState
from kladml_tui.monitor import Batch
from kladml_tui.news import News
from tests.tui.shell import ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


class Listener(App[None]):
    """Counts its bells."""

    bells = 0

    def bell(self) -> None:
        self.bells += 1


def ended(*runs: str, kind: str = "run_finished", **more: Any) -> Batch:
    return Batch(news=tuple({"kind": kind, "run": run, "attempt": 1, "time": 1e11, **more} for run in runs))


def live(*runs: str) -> dict[str, RunState]:
    return {run: RunState("running", 0.0, True) for run in runs}


async def told_by(pilot: Pilot[None]) -> list[str]:
    await pilot.pause()
    return [notice.message for notice in pilot.app._notifications]


def take(told: News, batch: Batch, *runs: str, shown: str | None = None) -> None:
    told.take(batch, live(*runs), lambda _: None, shown)


async def test_the_run_in_sight_tells_its_end_itself_and_rings() -> None:
    app = Listener()
    async with app.run_test(notifications=True) as pilot:
        told = News(app, bell=True)
        take(
            told, ended("a/b/c/run_0001", "a/b/c/run_0002"), "a/b/c/run_0001", "a/b/c/run_0002", shown="a/b/c/run_0001"
        )
        assert await told_by(pilot) == ["a/b/c/run_0002 finished"]
        assert app.bells == 1
        take(told, ended("a/b/c/run_0003"), "a/b/c/run_0003", shown="a/b/c/run_0003")
        assert len(await told_by(pilot)) == 1


async def test_fifty_ends_are_one_notice_and_one_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(news, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    app = Listener()
    async with app.run_test(notifications=True) as pilot:
        told = News(app, bell=True)
        runs = [f"a/b/c/run_{number:04d}" for number in range(50)]
        failed = ended(*runs[:9], kind="run_failed")
        take(told, Batch(news=(*ended(*runs[9:]).news, *failed.news)), *runs)
        assert await told_by(pilot) == ["41 × finished, 9 × failed"]
        for run in runs:
            take(told, ended(run), run)
        assert app.bells == 1
        now[0] += 1.5
        take(told, ended(*runs), *runs)
        assert app.bells == 2


async def test_no_bell_unless_it_is_wanted_nor_for_a_stop_that_was_asked_for() -> None:
    app = Listener()
    async with app.run_test(notifications=True) as pilot:
        take(News(app, bell=False), ended("r"), "r")
        take(News(app, bell=True), ended("r", kind="run_stopped", reason="stop requested"), "r")
        assert app.bells == 0
        assert len(await told_by(pilot)) == 2, "but both are shown"


async def test_what_is_not_finite_is_told_once() -> None:
    app = Listener()
    async with app.run_test(notifications=True) as pilot:
        told = News(app, bell=True)
        for step in range(5):
            take(told, ended("r", kind="non_finite", step=step), "r")
        assert await told_by(pilot) == ["r is not finite"]
        assert app.bells == 1


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_a_notice_leaves_a_small_screen_its_chart(tmp_path: Path, size: tuple[int, int]) -> None:
    workspace = workspace_in(tmp_path / "w")
    seen = RunDirectory(a_run(workspace, "a/b/seen"))
    run = RunDirectory.create(workspace / "data", "a", "b", "oth[red]er", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running", phase="training")
    app = KladMLApp(workspace)
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(pilot, "1 running")
        app.workbench.reveal_run(seen)
        await shows(pilot, "✓ run_0001 finished")
        await until(pilot, lambda: app.monitor.snapshot(run.reference) is not None)
        log.event("run_failed", step=1, exit_code=70, reason="train/loss is NaN")
        log.status("failed", exit_code=70, reason="train/loss is NaN")
        log.close()
        await shows(pilot, "a/b/oth[red]er/run_0001 failed: train/loss is NaN")
        await pilot.pause()
        toast = app.screen.query_one("Toast")
        (shown,) = app._notifications
        assert (toast.size.height, shown.timeout) == ((1, news.SMALL_SECONDS) if size == SMALL else (2, 5.0))


async def test_a_run_that_stands_still_is_told_once_however_its_words_change(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await until(pilot, lambda: app.monitor.ready)
        publish = app.monitor._follower._publisher.publish  # type: ignore[union-attr]
        told = []
        for stalled in (True, True, False, True):
            message = {"run": "r", "status": "running", "message": f"no heartbeat for {len(told)} s"}
            publish("status", {**message, "word": "stalled"} if stalled else message)
            batch = app.monitor.drain()
            assert batch is not None
            told.append([event["kind"] for event in batch.news])
        assert told == [["run_stalled"], [], [], ["run_stalled"]]


async def test_the_page_of_notices_shows_what_is_told_and_tries_the_command(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "project: vision")
        await pilot.press("N")
        await shows(pilot, "none; set notices.command", "t tries the command")
        await pilot.press("t")
        await shows(pilot, "there is no command to try")
        (workspace / "kladml.yaml").write_text("notices: {command: 'echo \"[red] $KLADML_EVENT\"; exit 3'}\n")
        await pilot.press("t")
        await shows(pilot, "exit code 3", "[red] run_finished", "exit 3")
        await pilot.press("escape")
        await until(pilot, lambda: "tries the command" not in screen_text(app))
    assert os.listdir(workspace / "data") == ["configs"], "a try is not listened to by anybody"
