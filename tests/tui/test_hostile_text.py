"""No text, wherever it comes from, does anything on any surface of the app but be read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import OptionList, Tree

from kladml_core.metrics.columns import RECORD
from kladml_core.metrics.reduce import SeriesBuffer
from kladml_tui import themes
from kladml_tui.app import KladMLApp
from kladml_tui.screens.ask import Ask
from kladml_tui.text import notice, one_line
from kladml_tui.widgets.chart import Chart, Curve, Mark
from kladml_tui.widgets.editor_bar import EditorBar, EditorState
from kladml_tui.widgets.problem_list import Finding, ProblemList
from tests.tui.editing import EditorApp, opened, until
from tests.tui.hostile import HOSTILE, drawn, harmless, hostile_workspace

ALL = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
ROOMY = (200, 60)


def seen(text: str, where: str, *, letters: int = 14) -> bool:
    """Whether the screen shows the beginning of the text, made inert, as it is written."""
    wanted = one_line(text)[:letters]
    return wanted in where


class OneWidget(App[None]):
    """Nothing but one widget."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.variable_defaults()

    def on_mount(self) -> None:
        themes.install(self, themes.load_themes()[0])
        self.theme = themes.DEFAULT

    def compose(self) -> ComposeResult:
        yield self.widget


@ALL
async def test_a_chart_s_legend_and_marks_show_names_as_they_are(text: str) -> None:
    buffer = SeriesBuffer()
    buffer.append(np.array([(step, 1.7e9 + step, 1 / step) for step in range(1, 50)], dtype=RECORD))
    app = OneWidget(Chart())
    async with app.run_test(size=ROOMY) as pilot:
        chart = app.query_one(Chart)
        chart.show([Curve(f"MT{text}", buffer.snapshot())], [Mark(9, "best", f"BT{text}")])
        await until(pilot, lambda: "━━" in drawn(app))
        assert harmless(drawn(app))
        # A long name keeps its end: that is where metrics differ.
        assert seen(f"MT{text}", drawn(app), letters=8) or one_line(text)[-8:] in drawn(app)


@ALL
async def test_a_problem_and_its_suggestion_are_shown_as_they_are(text: str) -> None:
    app = OneWidget(ProblemList())
    async with app.run_test(size=ROOMY) as pilot:
        app.query_one(ProblemList).show_findings([Finding(f"PB{text}", 1, 2, f"HT{text}"), Finding("x", where=text)])
        await pilot.pause()
        assert harmless(drawn(app))
        assert seen(f"PB{text}", drawn(app))
        assert seen(f"HT{text}", drawn(app), letters=8)


@ALL
async def test_the_editor_s_bar_shows_a_file_s_name_as_it_is(text: str) -> None:
    app = OneWidget(EditorBar())
    async with app.run_test(size=ROOMY) as pilot:
        app.query_one(EditorBar).show(EditorState(Path("/tmp") / f"FL{text.replace('/', '')}", True, "unsaved", 3))
        await pilot.pause()
        assert harmless(drawn(app))
        assert seen(f"FL{text.replace('/', '')}", drawn(app))


@ALL
async def test_questions_and_notices_are_shown_as_they_are(text: str) -> None:
    app = OneWidget(OptionList())
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        app.push_screen(Ask(f"QU{text}", [("w", f"AN{text}")]))
        notice(app, f"NO{text}", "error", title=f"TI{text}")
        await until(pilot, lambda: "NO" in drawn(app) and "QU" in drawn(app))
        assert harmless(drawn(app))
        for mark in ("AN", "TI"):
            assert seen(f"{mark}{text}", drawn(app), letters=10)


@ALL
async def test_the_editor_shows_a_hostile_file_and_goes_on(text: str, tmp_path: Path) -> None:
    hostile_workspace(tmp_path, text)
    (config,) = (tmp_path / "data" / "configs").iterdir()
    app = EditorApp(config)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        if "\udcff" in text:  # not UTF-8: refused in words
            await until(pilot, lambda: app.closed)
            assert harmless(drawn(app))
            return
        await opened(pilot)
        assert harmless(drawn(app))
        assert "YM" in drawn(app)


def unfold(tree: Tree[object]) -> None:
    """Opens what can be opened; the rest follows once it is filled."""
    for node in list(tree._tree_nodes.values()):
        if node.allow_expand and not node.is_expanded:
            node.expand()


@ALL
async def test_every_surface_of_the_app_shows_hostile_text_as_it_is(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    own = tmp_path / "config" / "kladml" / "themes"
    own.mkdir(parents=True)
    (own / "broken.yaml").write_bytes(f"TH{text}: 1\n".encode("utf-8", "surrogateescape"))
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    hostile_workspace(workspace, text)
    app = KladMLApp(workspace)
    pictures: list[str] = []

    async with app.run_test(size=ROOMY, notifications=True) as pilot:

        def look() -> str:
            pictures.append(drawn(app))
            assert harmless(pictures[-1])
            assert app.is_running
            return pictures[-1]

        async def press(*keys: str) -> None:
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
                look()

        tree = app.screen.query_one(Tree)
        for _ in range(60):
            unfold(tree)
            await pilot.pause(0.05)
            if all(mark in look() for mark in ("PJ", "EX", "CF", "DS")):
                break
        # Every line of the tree in turn, and what is shown of it in every tab.
        tree.focus()
        await press("g")
        for _ in range(len(tree._tree_nodes) + 1):
            await press("enter", "j")
        await press("slash", *"MT", "escape")
        for tab in "123456":
            await press(tab)
            await asyncio.sleep(0)
            await pilot.pause(0.1)
            look()
        await press("question_mark", "escape", "colon", *"PJ", "escape")
        assert app.return_code in (None, 0)

    everything = "\n".join(pictures)
    for mark in ("PJ", "EX", "CF", "DS"):
        assert seen(f"{mark}{text.replace('/', '⧸')}", everything, letters=8), mark
