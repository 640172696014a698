"""The styles of a chart: colour numbers become terminal styles of the theme in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.style import Style
from textual.color import Color

if TYPE_CHECKING:
    from textual.app import App

BLANK, AXIS, GRID, TEXT, MUTED, CHECKPOINT, BEST, RESUME, NON_FINITE, CURSOR, FIRST_CURVE = range(11)
"""Colour numbers. Curve i has FIRST_CURVE + 2 · i, and one more than that where it is faint."""

OKABE_ITO = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#999999")
"""Colours that most people tell apart: Okabe & Ito, "Color Universal Design" (2008)."""
_FAINT = 0.5
_FAINT_ON_LIGHT = 0.5


def styles(app: App[Any], background: Color, foreground: Color) -> list[Style]:
    """Return a style for each colour number of ours: ten of the chart, then two for each colour of curves."""
    try:
        from kladml_tui.themes import current

        theme = current(app)
        curves, frame, marks = theme.chart, theme.frame, theme.marks
        muted, accent, text = theme.app["muted"], theme.app["cursor"], theme.app["foreground"]
    except (ImportError, AttributeError, KeyError):
        curves, frame, marks = OKABE_ITO, {}, {}
        muted, accent, text = "#8d97ab", "#56B4E9", foreground.hex
    numbered = [
        text, frame.get("axis", muted), frame.get("grid", "#2a3142"), text, muted, marks.get("checkpoint", muted),
        marks.get("best", "#E69F00"), marks.get("resume", "#CC79A7"), marks.get("non_finite", "#D55E00"), accent,
    ]  # fmt: skip
    result = [_style(colour, background) for colour in numbered]
    for colour in curves:
        result += [_style(colour, background), _faint(colour, background)]
    return result


def _style(colour: str, background: Color, *, dim: bool = False) -> Style:
    return Style(color=Color.parse(colour).rich_color, bgcolor=background.rich_color, dim=dim or None)


def _faint(colour: str, background: Color) -> Style:
    """Return a curve's colour nearly sunk into the ground; a terminal's own colours cannot be mixed, only dimmed."""
    parsed = Color.parse(colour)
    if parsed.ansi is not None or background.ansi is not None:
        return _style(colour, background, dim=True)
    mixed = parsed.blend(background, _FAINT if background.brightness < 0.5 else _FAINT_ON_LIGHT)
    return Style(color=mixed.rich_color, bgcolor=background.rich_color)
