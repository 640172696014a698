"""Colour themes: finds theme files, gives them to the app, and says which one is in use.

The format is documented at the top of `themes/kladml-dark.yaml`. A broken file is one notice, never a crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from kladml_core.config.load import Document
from kladml_core.errors import KladMLError
from kladml_core.user_folders import user_folder
from kladml_tui.theme_file import KladTheme, contrast, did_you_mean, read_theme, theme_from

__all__ = [
    "DEFAULT",
    "KladTheme",
    "contrast",
    "current",
    "install",
    "installed",
    "load_theme",
    "load_themes",
    "read_theme",
    "theme_directories",
    "theme_from",
    "unknown_theme",
    "variable_defaults",
]

if TYPE_CHECKING:
    from textual.app import App

DEFAULT = "kladml-dark"


def theme_directories(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where theme files are looked for, the later winning: the package, the checkout, the user's own directory."""
    package = Path(__file__).resolve().parent
    shipped = [package / "themes"]
    # Beside an installed package lies whatever else is installed; only a checkout's neighbour is ours.
    if (package.parent / "pyproject.toml").is_file():
        shipped.append(package.parent / "themes")
    return [*shipped, user_folder("CONFIG", environ) / "themes"]


def load_themes(directories: Sequence[Path] | None = None) -> tuple[dict[str, KladTheme], tuple[str, ...]]:
    """Every theme found, by name, and one notice for each file that is broken.

    Args:
        directories: where to look, the later winning; `theme_directories()` when None.

    Returns:
        The themes, the default among them always, and the notices, each naming file:line:column.
    """
    themes = {DEFAULT: _fallback()}
    notices: list[str] = []
    for directory in theme_directories() if directories is None else directories:
        for file in _theme_files(directory):
            try:
                theme = read_theme(file)
            except KladMLError as error:
                notices.append(str(error))
            else:
                themes[theme.name] = theme
    return themes, tuple(notices)


def load_theme(name: str, directories: Sequence[Path] | None = None) -> tuple[KladTheme, tuple[str, ...]]:
    """The one theme that the first frame needs, read without the others; the default where it is missing or broken.

    Args:
        name: the theme's name. `name.yaml` is tried first, in the directory that wins; then every file.
        directories: as in `load_themes`.
    """
    places = list(theme_directories() if directories is None else directories)
    if Path(name).name == name:
        for directory in reversed(places):
            try:
                theme = read_theme(directory / f"{name}.yaml")
            except KladMLError:
                break  # every notice then comes from the full reading below
            except FileNotFoundError:
                continue
            if theme.name == name:
                return theme, ()
    themes, notices = load_themes(places)
    if name in themes:
        return themes[name], notices
    return themes[DEFAULT], (*notices, unknown_theme(name, themes))


def unknown_theme(name: str, themes: Iterable[str]) -> str:
    """What to tell a person who asked for a theme that there is not."""
    return f"there is no theme {name!r}; {DEFAULT} is shown.{did_you_mean(name, sorted(themes))}"


def install(app: App[Any], themes: Mapping[str, KladTheme]) -> None:
    """Registers the themes with the app; the one in use is shown anew when its colours have changed.

    Themes installed before and not among these stay as they are.
    """
    known = _INSTALLED.setdefault(app, {})
    changed = known.get(app.theme) != themes.get(app.theme, known.get(app.theme))
    for theme in themes.values():
        known[theme.name] = theme
        app.register_theme(theme.textual())
    if changed:
        from textual.app import App as TextualApp

        app.mutate_reactive(TextualApp.theme)


def installed(app: App[Any]) -> dict[str, KladTheme]:
    """The themes of the app by name."""
    return dict(_INSTALLED.get(app, {}))


def current(app: App[Any]) -> KladTheme:
    """The theme in use, or the default where the app shows one of Textual's own."""
    known = _INSTALLED.get(app, {})
    return known.get(app.theme) or known.get(DEFAULT) or _fallback()


def variable_defaults() -> dict[str, str]:
    """A value for each CSS variable of ours, for themes that know none: `App.get_theme_variable_defaults`."""
    ours = ("muted", "state-", "mark-", "editor-")
    return {name: colour for name, colour in _fallback().variables().items() if name.startswith(ours)}


_INSTALLED: WeakKeyDictionary[App[Any], dict[str, KladTheme]] = WeakKeyDictionary()


def _fallback() -> KladTheme:
    """What is shown when not even the default's file can be read."""
    colours = {
        "primary": "#79aef8",
        "foreground": "#d5dae4",
        "background": "#12151c",
        "surface": "#191d27",
        "panel": "#222836",
        "muted": "#8d97ab",
        "accent": "#ebb56f",
        "error": "#ef8189",
        "success": "#86cf8c",
    }
    return theme_from(Document({"name": DEFAULT, "dark": True, "app": colours}, f"{DEFAULT}.yaml"))


def _theme_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return []
