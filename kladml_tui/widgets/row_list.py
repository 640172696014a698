"""A list drawn row by row as rows come into sight; the cursor stays on its row whatever comes or goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from kladml_tui.commands import bindings
from kladml_tui.messages import Chosen, Moved
from kladml_tui.text import shorten

GUTTER = 1
"""Cells before each row, for the mark of the cursor."""


class RowList(ScrollView, can_focus=True):
    """Rows by key. Only rows in sight are made into text, so that ten thousand cost no more than ten.

    A subclass says what a row looks like in `row`, and may have a `head` above the rows.
    """

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    COMPONENT_CLASSES = {"row-list--cursor", "row-list--head", "row-list--gutter"}
    ALLOW_SELECT = False
    BINDINGS = bindings("lists")

    def __init__(self, *, id: str | None = None, head: bool = False, cursor: bool = True) -> None:
        super().__init__(id=id)
        self._keys: tuple[str, ...] = ()
        self._index_of: dict[str, int] = {}
        self._cursor = 0
        self._head = int(head)
        self._has_cursor = cursor
        self._strips: dict[str, Strip] = {}

    # What a subclass says

    def row(self, key: str, width: int) -> Content:
        """One row in at most `width` cells."""
        raise NotImplementedError

    def head(self, width: int) -> Content:
        """The line above the rows."""
        return Content()

    def nothing(self) -> str:
        """What stands in the place of the first row where there is none."""
        return ""

    def rows_shown(self, keys: Sequence[str]) -> None:
        """Called with the rows in sight whenever they change."""

    # The rows

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all rows, from the top."""
        return self._keys

    @property
    def cursor_key(self) -> str | None:
        """The key of the row the cursor is on; None in an empty list."""
        return self._keys[self._cursor] if self._cursor < len(self._keys) else None

    def show_keys(self, keys: Sequence[str]) -> None:
        """Shows these rows; the cursor stays on its row and the row at its place on the screen.

        A row that went away leaves the cursor on the one that took its place.
        """
        keys = tuple(keys)
        if keys == self._keys:
            return
        before, old_cursor = self.cursor_key, self._cursor
        self._keys = keys
        self._index_of = {key: index for index, key in enumerate(keys)}
        self._cursor = self._index_of.get(before or "", min(old_cursor, max(0, len(keys) - 1)))
        self._strips = {key: strip for key, strip in self._strips.items() if key in self._index_of}
        self._resize_content()
        if self.scroll_offset.y and self._cursor != old_cursor:
            self.scroll_to(
                y=self.scroll_offset.y + self._cursor - old_cursor, animate=False, immediate=True, force=True
            )
        self.refresh()
        self._tell_shown()
        if self.cursor_key != before:
            self.post_message(Moved(self, self.cursor_key))

    def redraw(self, keys: Iterable[str] | None = None) -> None:
        """Makes these rows, or all, anew."""
        if keys is None:
            self._strips.clear()
            self.refresh()
            return
        for key in keys:
            index = self._index_of.get(key)
            if index is not None:
                self._strips.pop(key, None)
                self.refresh_line(index + self._head)

    def move_to(self, key: str) -> bool:
        """Puts the cursor on a row; False when there is no such row."""
        index = self._index_of.get(key)
        if index is None:
            return False
        self._go(index)
        return True

    def visible_keys(self) -> tuple[str, ...]:
        """The keys of the rows in sight."""
        top = self.scroll_offset.y
        return self._keys[top : top + max(0, self.room.height - self._head)]

    @property
    def room(self) -> Size:
        """The cells there are for rows and head, without the scroll bar."""
        return self.scrollable_content_region.size

    # Drawing

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.room.width
        ground = self.visual_style
        if self._head and y == 0:
            style = self.get_visual_style("row-list--head")
            return self._line(self.head(width - GUTTER), width, style, " ")
        index = self.scroll_offset.y + y - self._head
        if not 0 <= index < len(self._keys):
            if index or self._keys:
                return Strip.blank(width, ground.rich_style)
            told = Content.styled(shorten(self.nothing(), width - GUTTER), "$muted")
            return self._line(told, width, ground, " ")
        key = self._keys[index]
        if self._has_cursor and index == self._cursor:
            style = self.get_visual_style("row-list--cursor")
            return self._line(self.row(key, width - GUTTER), width, style, "▌" if self.has_focus else "▏")
        strip = self._strips.get(key)
        if strip is None or strip.cell_length != width:
            strip = self._strips[key] = self._line(self.row(key, width - GUTTER), width, ground, " ")
        return strip

    def _line(self, content: Content, width: int, style: Any, gutter: str) -> Strip:
        strips = Visual.to_strips(self, content, max(1, width - GUTTER), 1, style)
        rich_style = style.rich_style
        body = strips[0] if strips else Strip.blank(0)
        mark = self.get_visual_style("row-list--gutter").rich_style if gutter.strip() else None
        first = Segment(gutter, rich_style + mark if mark is not None else rich_style)
        return Strip([first, *body.adjust_cell_length(width - GUTTER, rich_style)], width)

    def notify_style_update(self) -> None:
        """Colours changed: rows are made anew."""
        super().notify_style_update()
        self._strips.clear()

    def on_resize(self) -> None:
        """The width of every row changed."""
        self._strips.clear()
        self._resize_content()
        self._show_cursor()
        self._tell_shown()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows came into sight."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._tell_shown()

    def on_focus(self) -> None:
        self._refresh_cursor()

    def on_blur(self) -> None:
        self._refresh_cursor()

    # Keys and mouse

    def action_down(self) -> None:
        self._go(self._cursor + 1)

    def action_up(self) -> None:
        self._go(self._cursor - 1)

    def action_page(self, pages: int) -> None:
        self._go(self._cursor + pages * max(1, self.room.height - self._head - 1))

    def action_top(self) -> None:
        self._go(0)

    def action_bottom(self) -> None:
        self._go(len(self._keys) - 1)

    def action_choose(self) -> None:
        if self.cursor_key is not None:
            self.post_message(Chosen(self, self.cursor_key))

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y - self._head
        if 0 <= index < len(self._keys) and event.y >= self._head:
            self._go(index)
            if event.chain > 1:
                self.action_choose()

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._keys) - 1))
        if index == self._cursor or not self._keys:
            self._show_cursor()
            return
        self._refresh_cursor()
        self._cursor = index
        self._refresh_cursor()
        self._show_cursor()
        self.post_message(Moved(self, self.cursor_key))

    def _show_cursor(self) -> None:
        room = self.room.height - self._head
        if not self._has_cursor or room <= 0:
            return
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, immediate=True, force=True)
        elif self._cursor >= top + room:
            self.scroll_to(y=self._cursor - room + 1, animate=False, immediate=True, force=True)

    def _refresh_cursor(self) -> None:
        # A refresh by line misses the head, whose colour says which pane has the focus.
        self.refresh() if self._head else self.refresh_line(self._cursor)

    def _resize_content(self) -> None:
        self.virtual_size = Size(self.room.width, len(self._keys) + self._head)

    def _tell_shown(self) -> None:
        if self.is_mounted:
            self.rows_shown(self.visible_keys())
