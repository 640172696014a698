"""No text, wherever it comes from, does anything on any surface of the app but be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import OptionList

from kladml_core.metrics.columns import RECORD
from kladml_core.metrics.reduce import SeriesBuffer
from kladml_tui import themes
from kladml_tui.app import KladMLApp
from kladml_tui.screens.ask import Ask
from kladml_tui.text import notice, one_line
from kladml_tui.widgets.chart import Chart, Curve, Mark
from kladml_tui.widgets.editor_bar import EditorBar, EditorState
from kladml_tui.widgets.problem_list import Finding, ProblemList
from kladml_tui.widgets.runs_table import RunsTable
from kladml_tui.widgets.workspace_tree import WorkspaceTree
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


@ALL
async def test_every_surface_of_the_app_shows_hostile_text_as_it_is(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    own = tmp_path / "config" / "kladml" / "themes"
    own.mkdir(parents=True)
    (own / "broken.yaml").write_bytes(f"'TH{text}': 1\n".encode("utf-8", "surrogateescape"))
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    hostile_workspace(workspace, text)
    app = KladMLApp(workspace)
    pictures: list[str] = []

    async with app.run_test(size=ROOMY, notifications=True) as pilot:

        def look() -> str:
            pictures.append(drawn(app))
            assert harmless(pictures[-1]), pictures[-1]
            return pictures[-1]

        async def press(*keys: str) -> None:
            for key in keys:
                await pilot.press(key)
                look()

        async def shows(*marks: str) -> None:
            await until(pilot, lambda: all(mark in look() for mark in marks), f"{marks} never came to the screen")

        tree = app.workbench.query_one(WorkspaceTree)
        await until(pilot, lambda: any(key.startswith("config:") for key in tree.keys))
        tree.focus()
        await press("g", *"lll", *"jljljl")
        await shows("PJ", "FM", "EX", "CF", "DS")
        # Each row in turn: what the workbench shows of a dataset, a config, an experiment with its runs.
        for key in tree.keys:
            assert tree.move_to(key)
            await pilot.pause()
            if key.startswith(("config:", "dataset:")):
                await press("enter")
            look()
        (experiment,) = [key for key in tree.keys if key.startswith("runs:") and key.count("/") == 2]
        tree.move_to(experiment)
        await until(pilot, lambda: "run_0001" in look())
        app.workbench.query_one(RunsTable).focus()
        await press("g", "enter")
        for tab, marks in enumerate((("val/loss",), ("LG", "ER"), ("CN",), ("YM",), (), ()), 1):
            await press(str(tab))
            await shows(*marks)
        await press("1", "v", "v", "slash", *"MT", "escape")
        await press("question_mark", "escape")
        await press("colon", *"th", "escape", "escape")
        # The editor over the hostile config.
        (config,) = [key for key in tree.keys if key.startswith("config:")]
        tree.move_to(config)
        tree.focus()
        await press("e")
        await pilot.pause(0.3)
        look()
        assert app.is_running
        assert app.return_code in (None, 0)

    everything = "\n".join(pictures)
    on_disk = text.replace("/", "⧸")
    for mark, as_written in {
        "PJ": on_disk,
        "EX": on_disk,
        "CF": on_disk,
        "DS": on_disk,
        "LG": text,
        "ER": text,
    }.items():
        assert seen(f"{mark}{as_written}", everything, letters=8), mark
    console = one_line(f"CN{text}".encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    assert seen(console.partition("\\n")[0], everything, letters=8)
