"""What a person met on the workbench and that must not come back: lost text, cut figures, keys that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.runs.status import RunStatus
from kladml_tui.app import KladMLApp
from kladml_tui.run_line import Figure, RunLine
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.editor import ConfigEditor
from kladml_tui.widgets.curves_page import CurvesPage
from kladml_tui.widgets.runs_table import RunsTable
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


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_figures_in_the_table_are_whole_or_not_there(width: int) -> None:
    reference = "a-long-project/a-long-family/the-baseline/run_0002"
    status = RunStatus("stopped", attempt=1, step=1_234_567, total_steps=7_654_321, epoch=1234, total_epochs=10000)
    table = RunsTable(Path("projects"))
    table._runs = table._keys = (reference,)
    for figure, shown in {
        Figure("val/loss", 0.25, 20): "val/loss 0.25 @20",
        Figure("val/loss", 1.234e-12, 1_234_567): "val/loss 1.234e-12 ",
        Figure("val/mean_average_precision", -1.234e-12, 9): "… -1.234e-12 ",
    }.items():
        table._lines[reference] = RunLine(reference, status, figure)
        row = table.row(reference, width).plain + " "
        assert row.split()[1].startswith("…") or row.split()[1] == reference
        assert row.split()[1].endswith("/run_0002")
        if "last value" in table.head(width).plain:
            assert shown in row
        if "epoch" in table.head(width).plain:
            assert " 1234 " in row
        if "step" in table.head(width).plain:
            assert " 1234567 " in row


async def test_resume_is_offered_only_where_there_is_something_to_go_on_from(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace, status="stopped")
    a_run(workspace, status="stopped", steps=0)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        bench = app.workbench
        await shows(pilot, "run_0001", "run_0002", "1 Curves")
        runs = bench.runs
        for number, offered in ((2, False), (1, True)):
            key = f"vision/digits/cnn/run_{number:04d}"
            await until(pilot, lambda key=key: runs.line_of(key) is not None)
            runs.focus()
            await pilot.press("g" if number == 2 else "j")
            await until(pilot, lambda key=key: bench.run_here is not None and bench.run_here.reference == key)
            assert bench.check_action("resume", ()) is offered


async def test_help_names_every_key_of_the_chart(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace, status="stopped")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "1 Curves", "train/loss")
        await until(pilot, lambda: app.workbench.view.target is not None)
        app.workbench.view.target.focus()
        await pilot.pause()
        await pilot.press("question_mark")
        await shows(pilot, "Here: the run's curves")
        assert any("+ =" in line and "Zoom in" in line for line in screen_text(app).splitlines())
