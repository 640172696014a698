"""Widgets are told of their size, whatever else happens on the screen at that moment."""

from __future__ import annotations

from pathlib import Path

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from kladml_tui.app import KladMLApp
from kladml_tui.resizing import tell_sizes
from kladml_tui.widgets.text_lines import TextLines
from tests.tui.shell import CONFIG, SMALL, shows, until, workspace_in


class Told(Static):
    """Keeps the widths that it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []

    def on_resize(self) -> None:
        self.widths.append(self.size.width)


class SideBySide(App[None]):
    """Two widgets beside one another, and one that waits to be drawn in a part that is hidden."""

    CSS = "Static { width: 1fr; height: 1fr; } #hidden { display: none; }"

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(id="left")
            yield Told()
            with Horizontal(id="hidden"):
                yield Static(id="waiting")

    def on_mount(self) -> None:
        tell_sizes(self.screen)


async def test_a_widget_is_told_of_its_size_when_somebody_asked_where_it_is_before_the_layout() -> None:
    app = SideBySide()
    async with app.run_test(size=SMALL) as pilot:
        told = app.query_one(Told)
        await until(pilot, lambda: told.widths[-1:] == [40])
        await pilot.pause()
        app.query_one("#waiting").refresh()
        await pilot.pause(0.1)
        app.query_one("#left").display = False
        assert told.region
        await until(pilot, lambda: told.widths[-1:] == [80])


async def test_each_size_is_told_once() -> None:
    app = SideBySide()
    async with app.run_test(size=SMALL) as pilot:
        told = app.query_one(Told)
        await until(pilot, lambda: told.widths[-1:] == [40])
        for shown, width in ((False, 80), (True, 40), (False, 80)):
            told.widths.clear()
            app.query_one("#left").display = shown
            await until(pilot, lambda width=width: told.widths == [width])  # type: ignore[misc]
            await pilot.pause(0.1)
            assert told.widths == [width]


async def test_a_config_is_folded_anew_when_the_tree_makes_room_for_it(tmp_path: Path) -> None:
    app = KladMLApp(workspace_in(tmp_path / "w", config=CONFIG + "# " + "a long remark " * 8))
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "digits.yaml")
        app.workbench.nodes.reveal(f"config:{app.settings.data / 'configs' / 'digits.yaml'}")
        await shows(pilot, "a long remark")
        text = app.workbench.preview.target
        assert isinstance(text, TextLines)
        await until(pilot, lambda: 0 < text.virtual_size.width < 50)
        await pilot.pause()
        app.workbench.query_one("#recent").refresh()
        await pilot.pause(0.1)
        await pilot.press("tab")
        await until(pilot, lambda: text.virtual_size.width > 70)
