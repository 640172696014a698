"""Keys that come in one burst, as over a slow line, take effect in the order in which they were typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.events import Key
from textual.widget import Widget
from textual.widgets import Input, TextArea

from kladml_tui.app import KladMLApp
from kladml_tui.screens.form import Lines
from kladml_tui.widgets.in_order import Line
from kladml_tui.widgets.yaml_area import YamlArea
from tests.tui.editing import GOOD, EditorApp, checked, workspace
from tests.tui.shell import SMALL, a_run, shows, until, workspace_in


def burst(app: App[None], *keys: str) -> None:
    """Has keys come at once."""
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


class Fields(App[None]):
    """The fields there are."""

    def compose(self) -> ComposeResult:
        yield Line()
        yield Lines()
        yield YamlArea()


@pytest.mark.parametrize("kind", [Line, Lines, YamlArea])
async def test_letters_do_not_overtake_backspaces_and_arrows(kind: type[Widget]) -> None:
    app = Fields()
    async with app.run_test() as pilot:
        field = app.query_one(kind)
        field.focus()
        await pilot.pause()
        burst(app, *"abcd", "backspace", "backspace", "x", "left", "left", "y", "end", "z")
        await until(pilot, lambda: text_of(field).endswith("z"))
        assert text_of(field) == "aybxz"


async def test_the_filter_takes_a_burst_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0001", "nothing running")
        await pilot.press("slash", *"val/los<1")
        burst(app, *["backspace"] * 2, "s", "<", "1")
        await shows(pilot, "1 of 1 match 'val/loss<1'")


async def test_what_follows_esc_in_the_editor_is_a_command_and_what_follows_i_is_text(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=SMALL) as pilot:
        editor = await checked(pilot)
        burst(app, "x", "escape", "j", "i", "y", "escape", "u", "k", "u", "down", "i", "Z")
        await until(pilot, lambda: "Z" in editor.text)
        assert editor.text == GOOD.replace("model", "Zmodel", 1)
        burst(app, "backspace", "escape", "q")
        await until(pilot, lambda: app.closed)


def text_of(field: Widget) -> str:
    """What stands in a field."""
    return field.value if isinstance(field, Input) else field.text if isinstance(field, TextArea) else ""
