"""The workbench on the screen: its layout at two sizes, an empty workspace, leaving and coming back."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import RenderableType

from kladml_tui.app import KladMLApp
from kladml_tui.monitor import Monitor
from kladml_tui.view_state import ViewState, load, save, state_file
from tests.tui.shell import ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


async def test_a_roomy_screen_shows_tree_runs_and_the_run_at_once(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "▾ vision", "digits.yaml", "✓ run_0001", "finished", "1 Curves", "val/loss 0.25 @20")
        lines = screen_text(app).splitlines()
        assert "bench › vision/digits/cnn" in lines[0]
        assert "nothing running" in lines[0]
        assert lines[-1].split()[0] == "tab"


async def test_a_small_screen_gives_the_tree_room_only_while_it_has_the_keys(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "Projects", "run_0001", "train/loss")
        await pilot.press("tab")
        await until(pilot, lambda: "Projects" not in screen_text(app))
        await shows(pilot, "status", "epoch", "last value", "6 Provenance")
        await pilot.press("shift+tab")
        await shows(pilot, "Projects")


async def test_no_key_in_the_last_line_is_cut(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        for _ in range(3):
            last = screen_text(app).splitlines()[-1]
            assert last.rstrip().endswith("q quit")
            assert "? help" in last
            await pilot.press("tab")


async def test_an_empty_workspace_says_what_to_do_next(tmp_path: Path) -> None:
    workspace = tmp_path / "empty"
    workspace.mkdir()
    (workspace / "kladml.yaml").write_text("")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "No run in this workspace yet", "kladml-tui init", "--example digits")


async def test_with_configs_and_no_runs_the_cursor_is_on_a_config_that_t_would_train(tmp_path: Path) -> None:
    app = KladMLApp(workspace_in(tmp_path / "w"))
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "t train", "experiment: cnn", "data/configs/digits.yaml")


async def test_opening_again_brings_back_where_the_person_was(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    for _ in range(3):
        a_run(workspace)
    a_run(workspace, "vision/digits/other")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        app.workbench.nodes.move_to("runs:vision/digits/cnn")
        await shows(pilot, "run_0003")
        await pilot.press("tab", "down", "5")
        await shows(pilot, "no checkpoint yet")
        await pilot.press("q")
    again = KladMLApp(workspace)
    async with again.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0002", "no checkpoint yet", "▌")
        assert again.workbench.runs.cursor_key == "vision/digits/cnn/run_0002"
        assert again.workbench.view.tab == "checkpoints"


async def test_leaving_says_how_many_runs_go_on(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    path = a_run(workspace, status="running")
    said: list[str] = []

    class Listened(KladMLApp):
        def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
            said.append(str(message))
            super().exit(result, return_code, message)

    async with Listened(workspace).run_test(size=ROOMY) as pilot:
        await shows(pilot, "1 running", "● run_0001 running")
        await pilot.press("q")
    assert said == ["1 run goes on; kladml-tui shows it again."]
    assert json.loads((path / "state.json").read_text())["status"] == "running"
    assert not list((path / "control").iterdir())


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[1]", b'{"node": 3, "open": "x", "tab": "nonsense", "tree_width": "9"}']
)
async def test_a_damaged_memory_is_no_memory(tmp_path: Path, damage: bytes) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    file = state_file(workspace.resolve())
    file.parent.mkdir(parents=True)
    file.write_bytes(damage)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "1 Curves", "train/loss")


def test_the_memory_is_kept_apart_for_each_workspace(tmp_path: Path) -> None:
    one, other = state_file(tmp_path / "a"), state_file(tmp_path / "b")
    save(one, ViewState(node="runs:a", open=("projects",), tree_width=40))
    assert load(one) == ViewState(node="runs:a", open=("projects",), tree_width=40)
    assert load(other) == ViewState()


async def test_panes_can_be_made_larger_and_smaller(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        width = app.workbench.nodes.outer_size.width
        await pilot.press("greater_than_sign", "greater_than_sign")
        await until(pilot, lambda: app.workbench.nodes.outer_size.width == width + 4)
        await pilot.press("less_than_sign")
        await until(pilot, lambda: app.workbench.nodes.outer_size.width == width + 2)


async def test_a_change_of_size_while_it_runs_leaves_nothing_behind(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        for size in (SMALL, (40, 12), (20, 5), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await shows(pilot, "run_0001", "train/loss", "Projects")


_FIRST_FRAME = """
import sys, asyncio
from pathlib import Path
from kladml_tui.app import KladMLApp

class Watched(KladMLApp):
    def _begin(self):
        print(" ".join(sorted(name for name in sys.modules if "." not in name)), flush=True)
        self.exit()

async def main():
    async with Watched(Path(sys.argv[1])).run_test(size=(160, 48)) as pilot:
        await pilot.pause()

asyncio.run(main())
"""


def test_nothing_that_can_wait_is_loaded_before_the_first_frame(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_FRAME, str(workspace)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "textual" in loaded
    assert not loaded & {"numpy", "pydantic", "plotext", "watchfiles", "psutil", "torch", "accelerate", "mlflow"}


async def test_the_pane_that_had_the_keys_has_them_again(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        await pilot.press("tab", "tab")
        await until(pilot, lambda: app.workbench.pane == "view")
        await pilot.press("q")
    again = KladMLApp(workspace)
    async with again.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: again.workbench.pane == "view" and "Projects" not in screen_text(again))


async def test_a_theme_file_that_changes_changes_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "config" / "kladml" / "themes"
    own.mkdir(parents=True)
    colours = "dark: true\napp: {{primary: '{0}', foreground: '#ffffff', background: '#000000'}}\n"
    (own / "mine.yaml").write_text(colours.format("#112233"))
    workspace = workspace_in(tmp_path / "w")
    (workspace / "kladml.yaml").write_text("ui: {theme: mine}\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "Projects")
        assert app.theme_variables["primary"] == "#112233"
        (own / "mine.yaml").write_text(colours.format("#445566"))
        await until(pilot, lambda: app.theme_variables["primary"] == "#445566")


async def test_what_is_loaded_behind_the_first_frame_is_never_searched_for_garbage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_in(tmp_path / "w")
    on_while_loading: list[bool] = []
    load = Monitor.open

    def watched(monitor: Monitor) -> None:
        load(monitor)
        on_while_loading.append(gc.isenabled())

    monkeypatch.setattr(Monitor, "open", watched)
    gc.disable()  # as the command does before it opens the app
    try:
        app = KladMLApp(workspace)
        async with app.run_test(size=ROOMY) as pilot:
            await until(pilot, lambda: on_while_loading and gc.isenabled())
        assert on_while_loading == [False] and gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()
