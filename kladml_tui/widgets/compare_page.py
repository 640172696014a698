"""In what runs differ, as text: a column a run where they fit, else the runs one under the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from textual import work
from textual.binding import Binding
from textual.content import Content

from kladml_tui.compare_text import BEST, Table
from kladml_tui.text import content, one_line, pad, shorten
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.text_lines import LONGEST_LINE, TextLines

_NARROWEST = 18
"""Cells of a run's column below which the runs stand one under the other."""
_KEY = 30
_MANY_CELLS = 1000
"""More are laid out in a thread."""
_GAP = 2

Badge = tuple[str, str]
"""The character that stands on a run's curve, and its style."""


class ComparePage(TextLines):
    """The tables of a comparison, drawn anew for each width."""

    BINDINGS = [
        Binding("n", "part(1)", "next part", tooltip="Go to the next part of the tables.", id="compare.part"),
        Binding("N", "part(-1)", "Part back", tooltip="Go to the part before.", show=False, id="compare.part_back"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tables: Sequence[Table] = ()
        self._badges: Mapping[str, Badge] = {}
        self._notes: Sequence[str] = ()
        self._parts: Sequence[int] = ()
        """Lines that are titles."""

    def show(self, tables: Sequence[Table], badges: Mapping[str, Badge], notes: Sequence[str] = ()) -> None:
        """Shows these tables.

        Args:
            tables: with the names of the runs as heads.
            badges: by such a name.
            notes: what to say below them, as warnings.
        """
        self._tables, self._badges, self._notes = tables, badges, notes
        self.draw()

    def say(self, text: str, style: str = "$muted") -> None:
        """Says this instead of tables."""
        self._tables = ()
        self.show_lines([content(text, style)])

    def draw(self) -> None:
        """Lays the tables out for the width there is."""
        width = self.scrollable_content_region.width
        if width < 2 or not self._tables:
            return
        if sum(len(table.rows) * len(table.heads) for table in self._tables) > _MANY_CELLS:
            self._draw_aside(width)
        else:
            self._show_parts(*self._lines_for(width))

    @work(group="layout", exclusive=True, exit_on_error=False)
    async def _draw_aside(self, width: int) -> None:
        """Lay out in a thread what would keep the screen from the keys."""
        self._show_parts(*await asyncio.to_thread(self._lines_for, width))

    def _show_parts(self, lines: Sequence[Content], parts: Sequence[int]) -> None:
        self._parts = parts
        self.show_lines(lines)

    def action_part(self, by: int) -> None:
        """Goes to the next title, or the one before."""
        top = self.scroll_offset.y
        starts = [self._starts[index] for index in self._parts if index < len(self._starts)]
        on = [start for start in starts if (start > top if by > 0 else start < top)]
        if on:
            self.scroll_to(y=min(on) if by > 0 else max(on), animate=False, immediate=True, force=True)

    def _lines_for(self, width: int) -> tuple[list[Content], list[int]]:
        found: list[Content] = []
        parts: list[int] = []
        for table in self._tables:
            if found:
                found.append(Content(""))
            parts.append(len(found))
            # In pieces that are shown whole: who opens a text wants all of it.
            found += [piece for line in self._table(table, width) for piece in _pieces(line)]
        for note in self._notes:
            found += [Content(""), *_pieces(content(note, "$warning"))]
        return found, parts

    def on_resize(self) -> None:
        """Another width."""
        self.draw()

    def _table(self, table: Table, width: int) -> Sequence[Content]:
        if not table.rows:
            return [_title(table.title), content(table.instead, "$muted")]
        labels = [table.title, *(row[0] for one in self._tables for row in one.rows)]
        key = min(_KEY, width // 3, max(map(cells_of, labels)))
        column = (width - key) // len(table.heads) - _GAP
        if column >= _NARROWEST:
            return list(self._in_columns(table, key, column))
        return list(self._stacked(table, width))

    def _badge(self, name: str) -> Badge:
        return self._badges.get(name, ("", ""))

    def _in_columns(self, table: Table, key: int, column: int) -> Iterator[Content]:
        heads: list[tuple[str, str]] = [(pad(table.title, key + _GAP), "$primary bold")]
        for name in table.heads:
            marker, style = self._badge(name)
            room = column - 2 if marker else column
            heads += [(f"{marker} ", style)] if marker else []
            heads.append((pad(shorten(name, room, keep="end"), room + _GAP), "bold"))
        yield Content.assemble(*heads)
        for label, *values in table.rows:
            cells = [_folded(label, key), *(_folded(value, column) for value in values)]
            for first, *rest in zip_longest(*cells, fillvalue=""):
                parts: list[tuple[str, str]] = [(pad(first, key + _GAP), "$muted")]
                parts += [(pad(text, column + _GAP), _style(text)) for text in rest]
                yield Content.assemble(*parts)

    def _stacked(self, table: Table, width: int) -> Iterator[Content]:
        yield _title(table.title)
        most = min(_KEY, max(map(cells_of, table.heads)))
        indent = most + 2 * _GAP
        for label, *values in table.rows:
            if len(values) > 1 and len(set(values)) == 1:
                # Once, not a line for each run, in which nobody would see at once that they are alike.
                yield from _alike(label, values, width)
                continue
            yield content(label, "bold")
            for name, value in zip(table.heads, values, strict=True):
                marker, style = self._badge(name)
                # Cut at its beginning: the end of a reference is what tells runs apart.
                first, *rest = _folded(value, width - indent)
                yield Content.assemble(
                    (f"{marker or ' '} ", style or "$muted"),
                    (f"{pad(shorten(name, most, keep='end'), most)}  ", "$muted"),
                    (first, _style(value)),
                )
                yield from (Content.styled(" " * indent + line, _style(value)) for line in rest)


def _pieces(line: Content) -> list[Content]:
    return [line[at : at + LONGEST_LINE] for at in range(0, max(1, len(line)), LONGEST_LINE)]


def _title(text: str) -> Content:
    return Content.styled(one_line(text), "$primary bold")


def _alike(label: str, values: Sequence[str], width: int) -> Iterator[Content]:
    """What is the same in all runs: beside what it is, or below it where there is no room."""
    head, style = one_line(label), _style(values[0])
    lines = _folded(f"{values[0]}  in all {len(values)}", width - _GAP)
    if len(lines) == 1 and cells_of(head) + _GAP + cells_of(lines[0]) <= width:
        yield Content.assemble((head + " " * _GAP, "bold"), (lines[0], style))
        return
    yield content(label, "bold")
    yield from (Content.styled(" " * _GAP + line, style) for line in lines)


def _folded(text: str, cells: int) -> list[str]:
    """The text in lines of so many cells, parted between words where there are any."""
    line = one_line(text)
    if cells_of(line) <= cells:
        return [line]
    return [line.plain.rstrip() for line in content(text).wrap(max(2, cells))] or [""]


def _style(value: str) -> str:
    if value.endswith(BEST):
        return "$mark-best"
    return "$muted" if value == "–" else "$foreground"
