"""The lines of text above a chart: its curves with their values, and how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from kladml_tui.widgets.chart_colours import FIRST_CURVE, MUTED, NON_FINITE, TEXT
from kladml_tui.widgets.chart_scale import number

Span = tuple[str, int]
"""A piece of a line and its colour number."""
_GAP = "   "
_LEAST = 7
"""Cells that no entry takes less than, with the gap before it."""


@dataclass(frozen=True)
class Entry:
    """One curve in the legend."""

    label: str
    """Inert text."""
    colour: int
    value: float | None
    note: str = ""
    """What is to be said of the value, such as the step it is of."""
    marker: str = ""
    """What stands on its curve."""


def legend(entries: Sequence[Entry], width: int) -> list[Span]:
    """Return the legend in at most `width` cells: labels are shortened before curves are left out."""
    if not entries:
        return []
    more, entries = len(entries), entries[: 1 + width // _LEAST]
    if more > len(entries):
        return _cut_short(entries, more, width)
    for longest in (60, 32, 20, 12):
        for notes in (True, False):
            spans = _entries(entries, longest, notes)
            if _length(spans) <= width:
                return spans
    return _cut_short(entries, more, width) if more > 1 else _entries(entries, max(1, width - 12), False)


def _cut_short(entries: Sequence[Entry], count: int, width: int) -> list[Span]:
    """Return as many of the first entries as fit, and how many of `count` there are besides."""
    spans: list[Span] = []
    for shown in range(min(len(entries), count - 1), 0, -1):
        spans = [*_entries(entries[:shown], 12, False), (f"{_GAP}+{count - shown}", MUTED)]
        if _length(spans) <= width:
            break
    return spans


def _entries(entries: Sequence[Entry], longest: int, notes: bool) -> list[Span]:
    spans: list[Span] = []
    for entry in entries:
        if spans:
            spans.append((_GAP, TEXT))
        colour = FIRST_CURVE + 2 * entry.colour
        spans += [(f"━{entry.marker or '━'} ", colour), (f"{shortened(entry.label, longest)} ", TEXT)]
        if entry.value is not None:
            spans.append((f"{number(entry.value)}", colour if math.isfinite(entry.value) else NON_FINITE))
            if notes and entry.note:
                spans += [(" ", TEXT), (entry.note, MUTED)]
    return spans


def shortened(text: str, cells: int) -> str:
    """Return a text in at most so many cells, its end kept: metrics and runs differ there."""
    if cell_len(text) <= cells:
        return text
    kept = ""
    for character in reversed(text):
        if cell_len(character + kept) > cells - 1:
            break
        kept = character + kept
    return "…" + kept


def lines_above(legend_spans: list[Span], status: str, width: int) -> list[list[Span]]:
    """Return legend and status on one line where both fit, else on two."""
    room = width - _length(legend_spans) - cell_len(status)
    if room >= len(_GAP):
        return [[*legend_spans, (" " * room, TEXT), (status, MUTED)]]
    rows = [legend_spans]
    if status:
        rows.append([(status if cell_len(status) <= width else set_cell_size(status, width - 1) + "…", MUTED)])
    return rows


def _length(spans: Sequence[Span]) -> int:
    return sum(cell_len(text) for text, _ in spans)
