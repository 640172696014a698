"""Pruning and pinning on the workbench."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.runs.pins import read_pins
from kladml_core.runs.trash import entries
from kladml_tui.app import KladMLApp
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.prune_screen import PruneList, PruneScreen
from tests.core.pruned_runs import a_run, name, tree
from tests.tui.hostile import HOSTILE, drawn, file_part, harmless
from tests.tui.shell import ROOMY, SMALL, screen_text, shows, until, workspace_in


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_x_shows_what_goes_y_does_it_and_b_brings_it_back(tmp_path: Path, size: tuple[int, int]) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = a_run(workspace / "data")
    app = KladMLApp(workspace)
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(pilot, "run_0001", "cnn")
        await until(pilot, lambda: app.workbench.ready and app.workbench.runs.cursor_key)
        app.workbench.go_to_pane("runs")
        await pilot.press("x")
        await shows(pilot, "Prune vision/digits/cnn/run_0001", name(10), name(30), "2 things", "move it into the trash")
        assert name(40) not in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        assert (run.checkpoints / name(10)).exists()
        await pilot.press("x")
        await shows(pilot, "2 things")
        await pilot.press("y")
        await until(pilot, lambda: not (run.checkpoints / name(10)).exists())
        await shows(pilot, "in the trash.")
        await pilot.press("x")
        await shows(pilot, "nothing to prune", "empty the trash (")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        await pilot.press("b")
        await shows(pilot, "Put back what was moved into the trash", name(10))
        await pilot.press("b")
        await until(pilot, lambda: (run.checkpoints / name(10)).exists() and not entries(workspace / "data"))
        await shows(pilot, "2 things are back")


async def test_a_run_that_goes_leaves_tree_and_table_and_its_curves_come_back_with_it(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace / "data")
    failed = a_run(workspace / "data", status="failed", steps=())
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "run_0001", "run_0002", "1 Curves")
        await pilot.press("x")  # the keys are with the tree: all of the experiment
        await shows(pilot, "Prune vision/digits/cnn ", "2 things")
        await pilot.press("w")
        await shows(pilot, "3 things", "failed, without a valid checkpoint")
        await pilot.press("enter")
        await until(pilot, lambda: not failed.path.exists())
        await until(pilot, lambda: app.workbench.runs.keys == ("vision/digits/cnn/run_0001",))
        app.clear_notifications()
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("b")
        await until(pilot, lambda: len(app.workbench.runs.keys) == 2)
        await until(pilot, lambda: "failed" in screen_text(app), timeout=10)


async def test_a_run_is_deleted_by_its_key_and_comes_back_as_it_was(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    run, _ = a_run(workspace / "data"), a_run(workspace / "data", status="running", steps=())
    before = tree(run.path)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "run_0001", "run_0002", "1 Curves")
        await until(pilot, lambda: app.workbench.runs.cursor_key == "vision/digits/cnn/run_0002")
        app.workbench.go_to_pane("runs")
        await pilot.press("D")
        await shows(pilot, "Not deleted", "run_0002 stays: it is live")
        await pilot.press("down", "D")
        await shows(pilot, "Delete the run vision/digits/cnn/run_0001?", "b brings it back")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        assert run.path.is_dir()
        await pilot.press("D")
        await shows(pilot, "Delete the run vision/digits/cnn/run_0001?")
        await pilot.press("D")
        await until(pilot, lambda: app.workbench.runs.keys == ("vision/digits/cnn/run_0002",))
        assert not run.path.exists()
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("b")
        await until(pilot, lambda: len(app.workbench.runs.keys) == 2)
        assert tree(run.path) == before


async def test_emptying_asks_and_frees_for_good(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace / "data")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "run_0001", "1 Curves")
        await pilot.press("x")
        await shows(pilot, "2 things")
        await pilot.press("y")
        await until(pilot, lambda: app.screen is app.workbench and entries(workspace / "data"))
        await pilot.press("x")
        await shows(pilot, "empty the trash")
        await pilot.press("e")
        await shows(pilot, "are deleted for good")
        await pilot.press("e")
        await until(pilot, lambda: not entries(workspace / "data"))
        await shows(pilot, "are free.")


async def test_of_a_live_run_nothing_is_offered(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = a_run(workspace / "data", status="running")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0001", "1 Curves")
        await pilot.press("x")
        await shows(pilot, "nothing to prune", "1 live run is left alone")
        await pilot.press("y", "enter")
        await pilot.pause(0.1)
        assert isinstance(app.screen, PruneScreen)
        await pilot.press("x")
        await until(pilot, lambda: app.screen is app.workbench)
    assert (run.checkpoints / name(10)).exists() and not entries(workspace / "data")


async def test_p_pins_a_checkpoint_and_takes_the_pin_away(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    run = a_run(workspace / "data")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "run_0001", "1 Curves")
        await pilot.press("5")
        app.workbench.go_to_pane("view")
        await shows(pilot, name(40), "in all")
        await until(pilot, lambda: "p pin" in screen_text(app).splitlines()[-1])
        await pilot.press("G", "p")
        await shows(pilot, "pinned")
        assert read_pins(run) == {name(10)}
        await pilot.press("p")
        await until(pilot, lambda: "pinned" not in screen_text(app))
        assert read_pins(run) == frozenset()
        run.notes.write_text("note: [open\n")
        await pilot.press("p")
        await shows(pilot, "Not pinned")
        assert run.notes.read_text() == "note: [open\n"


@pytest.mark.parametrize("kind", ["closing tag", "link", "c1", "bidi", "long", "surrogate"])
async def test_hostile_names_are_inert(tmp_path: Path, kind: str) -> None:
    workspace = workspace_in(tmp_path / "w")
    hostile = file_part(HOSTILE[kind])
    run = a_run(workspace / "data", experiment=f"PJ{hostile}/FM{hostile}/EX{hostile}", status="failed")
    a_run(workspace / "data", experiment=f"PJ{hostile}/FM{hostile}/EX{hostile}")
    (run.checkpoints / f".{hostile}.tmp").mkdir()
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await until(pilot, lambda: app.workbench.ready and app.workbench.runs.cursor_key)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, PruneScreen) and app.screen.query_one(PruneList).keys)
        await shows(pilot, "things", "esc")
        assert harmless(drawn(app))
        await pilot.press("y")
        await until(pilot, lambda: app.screen is app.workbench and entries(workspace / "data"))
        await shows(pilot, "in the trash.")
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.pause(0.1)
        assert harmless(drawn(app))
