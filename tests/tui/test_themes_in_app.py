"""Themes in the running app: a broken file is told once, a changed one is shown at once, kladml.yaml chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.color import Color

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


async def test_a_broken_theme_in_use_is_one_notice_and_the_default(tmp_path: Path, own_themes: Path) -> None:
    (own_themes / "mine.yaml").write_text("app:\n  primary: nocolour\n")
    app = KladMLApp(workspace(tmp_path, "mine"))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(app._notifications))
        (told,) = app._notifications
        assert told.message.count("mine.yaml:2:12") == 1
        assert app.theme == themes.DEFAULT
        (own_themes / "other.yaml").write_text(MINE)
        await until(pilot, lambda: "other" in themes.installed(app))
        assert len(app._notifications) == 1


async def test_a_theme_in_use_that_is_edited_is_shown_without_a_restart(tmp_path: Path, own_themes: Path) -> None:
    (own_themes / "mine.yaml").write_text(MINE)
    app = KladMLApp(workspace(tmp_path, "mine"))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "kladml-light" in themes.installed(app))
        assert app.theme == "mine"
        (own_themes / "mine.yaml").write_text(MINE.replace("black", "'#102030'"))
        await until(pilot, lambda: app.screen.styles.background == Color.parse("#102030"))
