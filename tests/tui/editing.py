"""An app that shows one config in the editor, and ways to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot

from kladml_tui import themes
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.editor import ConfigEditor

GOOD = """\
# ours
model: {target: "model.py:Net"}
data: {target: "model.py:load"}
loss: mse
training:
  max_epochs: 3
  batch_size: 8
"""


class EditorApp(App[None]):
    """Nothing but the editor."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.launched: list[Path] = []
        self.closed = False

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.variable_defaults()

    def on_mount(self) -> None:
        themes.install(self, themes.load_themes()[0])
        self.theme = themes.DEFAULT
        self.push_screen(ConfigEditor(self.path), self._editor_left)

    def _editor_left(self, _: None) -> None:
        self.closed = True

    def on_config_editor_launch_requested(self, message: ConfigEditor.LaunchRequested) -> None:
        self.launched.append(message.path)

    @property
    def editor(self) -> ConfigEditor:
        return next(screen for screen in self.screen_stack if isinstance(screen, ConfigEditor))

    @property
    def asking(self) -> bool:
        return isinstance(self.screen, Ask)

    @property
    def notices(self) -> list[str]:
        return [f"{notice.title}: {notice.message}" for notice in self._notifications]


def workspace(directory: Path, text: str = GOOD) -> Path:
    """A workspace with a model and one config; the config's path."""
    (directory / "kladml.yaml").write_text("{}\n")
    (directory / "model.py").write_text("class Net: ...\ndef load(): ...\n")
    config = directory / "data" / "configs" / "mine.yaml"
    config.parent.mkdir(parents=True)
    config.write_bytes(text.encode())
    return config


async def until(pilot: Pilot[None], condition: Callable[[], object], message: str = "", timeout: float = 15.0) -> None:
    """Waits for a condition while the app goes on."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, message or "not true in time"
        await pilot.pause(0.02)


async def opened(pilot: Pilot[None]) -> ConfigEditor:
    """Waits for the text to be read and checked once."""
    app = pilot.app
    assert isinstance(app, EditorApp)
    await until(pilot, lambda: app.editor.checked_text is not None, "the text was never checked")
    return app.editor


async def checked(pilot: Pilot[None]) -> ConfigEditor:
    """Waits until what is shown is what came of checking the text as it stands."""
    editor = await opened(pilot)
    await until(pilot, lambda: editor.checked_text == editor.text, "the text as it stands was never checked")
    return editor
