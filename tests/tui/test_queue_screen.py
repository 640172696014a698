"""The queue on the screen: a config comes to wait, its place is shown, and the order is changed by keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kladml_core.runs import queue_list
from kladml_core.runs.launch import prepare
from kladml_core.runs.queue import enqueue, pause
from kladml_core.runs.queue_items import places, queue_dir, read_items
from kladml_core.runs.queue_list import Entry, entries
from kladml_tui.app import KladMLApp
from kladml_tui.screens.queue_screen import QueueScreen
from tests.tui.shell import ROOMY, SMALL, screen_text, shows, until, workspace_in

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "ho[red]st[@click=x]ile"
CONFIG = f"""\
experiment: "{HOSTILE}"
model: {{target: "mine.py:Model"}}
data: {{target: "mine.py:load"}}
loss: mse
training: {{max_epochs: 1}}
launch: {{device: cpu}}
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose queue is paused; should one go on, its workers are small."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(queue_list, "SCHEDULER", "tests.core.small_scheduler")
    workspace = workspace_in(tmp_path / "w", config=CONFIG)
    (workspace / "mine.py").write_text("def Model(): ...\ndef load(): ...\n")
    pause(workspace / "data")
    return workspace


def add(workspace: Path, count: int) -> list[Entry]:
    plan = prepare(workspace / "data" / "configs" / "digits.yaml", workspace=workspace)
    return [enqueue(plan) for _ in range(count)]


def order(workspace: Path) -> list[str]:
    return [entry.reference.rpartition("/")[2] for entry in entries(workspace / "data")]


async def test_a_config_comes_to_wait_and_s_takes_it_out_again(workspace: Path) -> None:
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("G")
        await shows(pilot, "T queue")
        await pilot.press("T")
        await shows(pilot, "queued #1", "1 queued")
        assert any(f"{HOSTILE}/run_0001 waits as #1" in one.message for one in app._notifications)
        await pilot.press("tab", "s")
        await shows(pilot, "It stops before it began.")
        await pilot.press("s")
        await until(pilot, lambda: not read_items(workspace / "data"))
        await shows(pilot, "stopped", "removed from the queue")


async def test_places_change_on_the_workbench_as_the_queue_does(workspace: Path) -> None:
    add(workspace, 2)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("g", "l")
        await shows(pilot, "run_0001 queued #1", "run_0002 queued #2", "2 queued")
        await pilot.press("Q")
        await shows(pilot, "2 waiting", "paused")
        await pilot.press("J", "q")
        await shows(pilot, "run_0001 queued #2", "run_0002 queued #1")


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_keys_move_and_remove_what_waits_and_the_cursor_stays_on_it(
    workspace: Path, size: tuple[int, int]
) -> None:
    add(workspace, 3)
    app = KladMLApp(workspace)
    async with app.run_test(size=size) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("Q")
        await shows(pilot, "3 waiting", "run_0003", HOSTILE if size == ROOMY else "ile/run_0003")
        await pilot.press("G", "K")
        await until(pilot, lambda: order(workspace) == ["run_0001", "run_0003", "run_0002"])
        await until(pilot, lambda: "K Sooner" in screen_text(app) and "Try again" not in screen_text(app))
        await pilot.press("K")
        await until(pilot, lambda: order(workspace) == ["run_0003", "run_0001", "run_0002"])
        await until(pilot, lambda: "▌1" in screen_text(app), "the cursor is not on what was moved")
        await pilot.press("x")
        await shows(pilot, "It stops before it began.")
        await pilot.press("x")
        await until(pilot, lambda: order(workspace) == ["run_0001", "run_0002"])
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, QueueScreen))
        await shows(pilot, "run_0001", "queued #1")


async def test_p_lets_the_queue_go_on_and_what_failed_can_be_tried_again(workspace: Path) -> None:
    add(workspace, 1)
    (workspace / "mine.py").rename(workspace / "gone.py")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("Q")
        await shows(pilot, "1 waiting", "paused")
        await pilot.press("p")
        await until(pilot, lambda: "1 failed" in screen_text(app), "it never failed", timeout=60)
        await shows(pilot, "mine.py", "Try again")
        await pilot.press("p")
        await shows(pilot, "paused")
        (workspace / "gone.py").rename(workspace / "mine.py")
        await pilot.press("r")
        await shows(pilot, "1 waiting")
        assert list(places(workspace / "data").values()) == [1]


async def test_an_app_that_opens_starts_what_waits_while_nobody_sees_to_it(workspace: Path) -> None:
    add(workspace, 1)
    (queue_dir(workspace / "data") / f"paused-{os.getuid()}").unlink()
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: not read_items(workspace / "data"), "nobody starts it", timeout=60)
