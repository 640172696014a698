"""Themes in the running app: a broken file is told once, a changed one is shown at once, kladml.yaml chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.color import Color
from textual.pilot import Pilot

from kladml_tui import themes
from kladml_tui.app import KladMLApp
from tests.tui.editing import until

MINE = "app:\n  primary: '#ff8800'\n  foreground: white\n  background: black\n"


@pytest.fixture
def own_themes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    directory = tmp_path / "config" / "kladml" / "themes"
    directory.mkdir(parents=True)
    return directory


def workspace(tmp_path: Path, theme: str) -> Path:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "kladml.yaml").write_text(f"ui: {{theme: {theme}}}\n")
    return root


class ListeningApp(KladMLApp):
    """Remembers every notice, for on a slow machine one may be gone before it is looked at."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.heard: list[str] = []

    def notify(self, message: str, **options: Any) -> None:
        self.heard.append(message)
        super().notify(message, **options)


def write(file: Path, text: str) -> None:
    """Whole or not there, so that no look sees half of it."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.replace(file)


async def seen(pilot: Pilot[None], app: KladMLApp, condition: Callable[[], object]) -> None:
    """Waits for what the next look at the files brings."""
    app.look_again()
    await until(pilot, condition, timeout=60)


async def test_a_broken_theme_in_use_is_one_notice_and_the_default(tmp_path: Path, own_themes: Path) -> None:
    write(own_themes / "mine.yaml", "app:\n  primary: nocolour\n")
    app = ListeningApp(workspace(tmp_path, "mine"))
    async with app.run_test(size=(120, 36)) as pilot:
        await seen(pilot, app, lambda: app.heard)
        (told,) = app.heard
        assert told.count("mine.yaml:2:12") == 1
        assert app.theme == themes.DEFAULT
        write(own_themes / "broken.yaml", "app:\n  primary: nocolour\n")
        await seen(pilot, app, lambda: len(app.heard) > 1)
        assert "broken.yaml:2:12" in app.heard[1] and "mine.yaml" not in app.heard[1]
        assert len(app.heard) == 2


async def test_a_theme_that_is_mended_and_broken_again_is_told_again(tmp_path: Path, own_themes: Path) -> None:
    write(own_themes / "mine.yaml", "app:\n  primary: nocolour\n")
    app = ListeningApp(workspace(tmp_path, "kladml-dark"))
    async with app.run_test(size=(120, 36)) as pilot:
        await seen(pilot, app, lambda: app.heard)
        write(own_themes / "mine.yaml", MINE)
        await seen(pilot, app, lambda: "mine" in themes.installed(app))
        write(own_themes / "mine.yaml", "app:\n  primary: nocolour\n")
        await seen(pilot, app, lambda: len(app.heard) == 2)


async def test_a_theme_in_use_that_is_edited_is_shown_without_a_restart(tmp_path: Path, own_themes: Path) -> None:
    write(own_themes / "mine.yaml", MINE)
    app = KladMLApp(workspace(tmp_path, "mine"))
    async with app.run_test(size=(120, 36)) as pilot:
        await seen(pilot, app, lambda: "kladml-light" in themes.installed(app))
        assert app.theme == "mine"
        write(own_themes / "mine.yaml", MINE.replace("black", "'#102030'"))
        await seen(pilot, app, lambda: app.screen.styles.background == Color.parse("#102030"))
