"""What a person met on the workbench and that must not come back: lost text, cut figures, keys that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_tui.app import KladMLApp
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.editor import ConfigEditor
from kladml_tui.widgets.curves_page import CurvesPage
from tests.tui.shell import ROOMY, a_run, screen_text, shows, until, workspace_in


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.parametrize("answer", ["w", "d"])
async def test_ctrl_q_in_the_editor_asks_for_unsaved_text_first(tmp_path: Path, answer: str) -> None:
    workspace = workspace_in(tmp_path / "w")
    file = workspace / "data" / "configs" / "digits.yaml"
    before = file.read_text()
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "experiment: cnn", "e edit")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor) and "project: vision" in screen_text(app))
        await until(pilot, lambda: not app.screen.query_one("#text").disabled)
        await pilot.press("#", "x")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await shows(pilot, "is not saved", "save it and close")
        await pilot.press("ctrl+q")
        await shows(pilot, "Answer the question first")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor))
        await pilot.pause(0.2)
        assert app.is_running and isinstance(app.screen, ConfigEditor) and app.screen.unsaved
        assert file.read_text() == before
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: not isinstance(app.screen, ConfigEditor))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(answer)
        await until(pilot, lambda: app._exit, "the app never left")
    assert file.read_text() == ("#x" + before if answer == "w" else before)


async def test_ctrl_c_in_the_editor_says_how_the_editor_is_left(tmp_path: Path) -> None:
    app = KladMLApp(workspace_in(tmp_path / "w"))
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "experiment: cnn", "e edit")
        app.action_help_quit()
        await shows(pilot, "q leaves the app; runs go on.")
        app.clear_notifications()
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ConfigEditor))
        await pilot.press("ctrl+c")
        await shows(pilot, "esc, then q closes the editor")
        assert "q leaves the app; runs" not in screen_text(app)


async def test_the_groups_of_metrics_stay_when_one_comes_back_to_the_curves(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace, status="stopped")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "1 Curves")
        line = app.workbench.query_one("#groups")
        await until(pilot, lambda: "loss" in str(line.render()))
        for _ in range(2):
            await pilot.press("2")
            await until(pilot, lambda: app.workbench.query_one("#page-events").display)
            await pilot.pause(0.3)
            await pilot.press("1")
            await until(pilot, lambda: app.workbench.query_one("#page-curves").display)
            await until(pilot, lambda: "loss" in str(line.render()), "the groups are gone", timeout=4)


@pytest.mark.parametrize("width", [1, 5, 20, 60, 80, 1000])
def test_the_chosen_group_is_in_sight_among_forty(width: int) -> None:
    page = CurvesPage(drawing="braille")
    page._groups = {f"metric_{number}": [f"metric_{number}"] for number in range(1, 42)}
    for chosen in range(1, 42):
        page._group = f"metric_{chosen}"
        line = page._group_line(width)
        assert line.cell_length <= width
        if width >= 20:
            assert f" metric_{chosen}" in line.plain
            assert (f"{chosen}/41" in line.plain) == (width < 1000)
