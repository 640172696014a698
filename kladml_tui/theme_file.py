"""A theme file: its keys and what stands in for those left out, the check of every colour, and what Textual gets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from kladml_core.config.load import Document, KeyPath, read
from kladml_core.errors import ConfigError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


STATES = _words("queued starting running stalled silent stopping stopped finished failed lost damaged")
MARKS = _words("checkpoint best resume non_finite")
_TEXTUAL_COLOURS = _words("primary secondary accent foreground background surface panel success warning error")
APP_COLOURS = (*_TEXTUAL_COLOURS, "border", "muted", "cursor", "selection")
EDITOR_COLOURS = _words("key string number boolean null comment anchor punctuation gutter cursor_line error error_line")
CHART_KEYS = ("curves", "axis", "grid", *MARKS)
# What a theme leaves out is taken from another of its own colours.
_APP_DEFAULTS = _pairs(
    "muted=foreground secondary=primary accent=primary surface=background panel=surface border=muted "
    "cursor=primary selection=panel success=primary warning=accent error=accent"
)
_STATE_DEFAULTS = _pairs(
    "running=primary finished=success failed=error stopped=warning lost=error queued=muted "
    "starting=secondary stopping=warning stalled=warning silent=warning damaged=error"
)
_EDITOR_DEFAULTS = _pairs(
    "key=primary string=success number=accent boolean=secondary null=secondary comment=muted "
    "anchor=secondary punctuation=muted gutter=muted cursor_line=surface error=error error_line=panel"
)
_CHART_DEFAULTS = _pairs("axis=muted grid=border checkpoint=muted best=accent resume=secondary non_finite=error")
_CURVES = {
    True: ("#79aef8", "#f2a65e", "#86cf8c", "#ee8fb4", "#b7a0f4", "#5fcabf", "#dfca70", "#e58473"),
    False: ("#2762c4", "#b9540c", "#1e7a42", "#b22f76", "#6849bd", "#0c7880", "#866500", "#a23a2c"),
}
# Textual's own style sheets ask these of a theme made of the terminal's colours.
_ANSI_VARIABLES = {"ansi-background": "ansi_black", "ansi-foreground": "ansi_white"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")


@dataclass(frozen=True)
class KladTheme:
    """The colours of one theme; every one is a text that `textual.color.Color.parse` takes."""

    name: str
    dark: bool
    app: Mapping[str, str]
    """The keys of APP_COLOURS."""
    chart: tuple[str, ...]
    """Colours of curves, at least eight; a chart takes them in turn."""
    frame: Mapping[str, str]
    """The chart's `axis` and `grid`."""
    marks: Mapping[str, str]
    """The keys of MARKS: the chart's marks."""
    states: Mapping[str, str]
    """The keys of STATES."""
    editor: Mapping[str, str]
    """The keys of EDITOR_COLOURS."""
    file: Path | None = field(default=None, compare=False)

    def textual(self) -> Theme:
        """The theme as Textual takes it, with ours as further CSS variables (`$muted`, `$state-running`)."""
        app = self.app
        colours: dict[str, Any] = {name: app[name] for name in _TEXTUAL_COLOURS}
        ansi = all(colour.startswith("ansi_") for colour in colours.values())
        return Theme(
            name=self.name,
            dark=self.dark,
            ansi=ansi,
            variables=self.variables() | (_ANSI_VARIABLES if ansi else {}),
            **colours,
        )

    def variables(self) -> dict[str, str]:
        """The CSS variables beyond Textual's own colours."""
        app = self.app
        on_cursor = _readable_on(app["cursor"], app["background"], app["foreground"])
        return {
            "muted": app["muted"],
            "foreground-muted": app["muted"],
            "border": app["border"],
            "border-blurred": app["panel"],
            "block-cursor-background": app["cursor"],
            "block-cursor-foreground": on_cursor,
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": app["selection"],
            "block-cursor-blurred-foreground": app["foreground"],
            "block-hover-background": app["panel"],
            "input-cursor-background": app["cursor"],
            "input-cursor-foreground": on_cursor,
            "input-selection-background": app["selection"],
            "screen-selection-background": app["selection"],
            "scrollbar": app["border"],
            "scrollbar-hover": app["muted"],
            "scrollbar-active": app["cursor"],
            "scrollbar-background": app["background"],
            "scrollbar-background-hover": app["background"],
            "scrollbar-background-active": app["background"],
            "scrollbar-corner-color": app["background"],
            "footer-background": app["surface"],
            "footer-item-background": app["surface"],
            "footer-description-background": app["surface"],
            "footer-key-background": app["surface"],
            "footer-foreground": app["foreground"],
            "footer-description-foreground": app["muted"],
            "footer-key-foreground": app["accent"],
            **{f"state-{name}": colour for name, colour in self.states.items()},
            **{f"mark-{name.replace('_', '-')}": colour for name, colour in self.marks.items()},
            **{f"editor-{name.replace('_', '-')}": colour for name, colour in self.editor.items()},
        }


def read_theme(file: Path) -> KladTheme:
    """Reads and checks one theme file.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: it is not a theme; names the first fault's file, line and column.
    """
    if not file.exists():
        raise FileNotFoundError(str(file))
    return theme_from(read(file, needs=("app",)), file)


def theme_from(document: Document, file: Path | None = None) -> KladTheme:
    """A parsed theme file as a theme.

    Raises:
        ConfigError: an unknown key, something that is no colour, or a colour that every theme needs is missing.
    """
    data = document.data
    _known(document, (), ("name", "dark", "app", "chart", "states", "editor"))
    name = data.get("name", Path(document.file).stem)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _fault(document, ("name",), "a theme's name is letters, digits, - and _, and begins with a letter")
    dark = data.get("dark", True)
    if not isinstance(dark, bool):
        raise _fault(document, ("dark",), "dark must be true or false")
    app = _colours(document, "app", APP_COLOURS)
    for needed in ("primary", "foreground", "background"):
        if needed not in app:
            raise _fault(document, ("app", needed), f"app.{needed} is missing; every theme needs it")
    for key, source in _APP_DEFAULTS.items():
        app.setdefault(key, app[source])
    chart = _section(document, "chart", CHART_KEYS)
    curves = chart.pop("curves", [])
    if not isinstance(curves, list):
        raise _fault(document, ("chart", "curves"), "chart.curves must be a list of colours")
    mine = tuple(_colour(document, ("chart", "curves", index), value) for index, value in enumerate(curves))
    frame = {key: _colour(document, ("chart", key), value) for key, value in chart.items()}
    frame = {key: frame.get(key, app[source]) for key, source in _CHART_DEFAULTS.items()}
    states = _colours(document, "states", STATES)
    editor = _colours(document, "editor", EDITOR_COLOURS)
    return KladTheme(
        name=name,
        dark=dark,
        app=app,
        chart=mine + tuple(colour for colour in _CURVES[dark] if colour not in mine)[: max(0, 8 - len(mine))],
        frame={key: frame[key] for key in ("axis", "grid")},
        marks={key: frame[key] for key in MARKS},
        states={key: states.get(key, app[source]) for key, source in _STATE_DEFAULTS.items()},
        editor={key: editor.get(key, app[source]) for key, source in _EDITOR_DEFAULTS.items()},
        file=file,
    )


def contrast(one: str, other: str) -> float:
    """The WCAG 2 contrast ratio of two colours, from 1 (none) to 21 (black on white)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2 definition."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in Color.parse(colour).normalized
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _readable_on(ground: str, one: str, other: str) -> str:
    if ground.startswith("ansi_"):
        return "ansi_black" if _luminance(ground) > 0.2 else "ansi_bright_white"
    return one if contrast(one, ground) >= contrast(other, ground) else other


def _section(document: Document, name: str, keys: Sequence[str]) -> dict[str, Any]:
    section = document.data.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise _fault(document, (name,), f"{name} must hold keys, e.g. {keys[0]}")
    _known(document, (name,), keys)
    return dict(section)


def _colours(document: Document, section: str, keys: Sequence[str]) -> dict[str, str]:
    return {key: _colour(document, (section, key), value) for key, value in _section(document, section, keys).items()}


def _colour(document: Document, path: KeyPath, value: Any) -> str:
    where = ".".join(str(part) for part in path)
    if value is None:
        raise _fault(document, path, f"{where} has no colour", 'A # begins a comment: write "#79aef8" in quotes')
    try:
        if not isinstance(value, str):
            raise ColorParseError(str(value))
        Color.parse(value)
    except ColorParseError:
        raise _fault(
            document, path, f"{where}: {value!r} is not a colour", 'Write "#79aef8" or a name, e.g. teal'
        ) from None
    return value


def _known(document: Document, path: KeyPath, keys: Sequence[str]) -> None:
    section = document.get(path, {})
    for key in section:
        if key not in keys:
            where = ".".join(str(part) for part in (*path, key))
            place = document.place((*path, key), key=True)
            raise ConfigError(
                f"there is no key {where} in a theme",
                hint=did_you_mean(str(key), keys).strip() or None,
                file=place.file,
                line=place.line,
                column=place.column,
            )


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """` Did you mean …?`, or an empty string where nothing is near."""
    close = get_close_matches(word, words, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _fault(document: Document, path: KeyPath, message: str, hint: str | None = None) -> ConfigError:
    place = document.place(path)
    return ConfigError(message, hint=hint, file=place.file, line=place.line, column=place.column)
