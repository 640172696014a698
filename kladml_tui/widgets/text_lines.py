"""A text of any length, folded to the width; only the lines in sight are drawn, and the end is kept in sight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from kladml_tui.commands import bindings

LONGEST_LINE = 4000
"""Characters of a line that are shown: folding a megabyte would keep the screen from every key for seconds."""


class TextLines(ScrollView, can_focus=True):
    """Shows lines of text. While the last line is in sight, new ones scroll into sight."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS = bindings("lists")
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, follow: bool = False) -> None:
        super().__init__(id=id)
        self._lines: tuple[Content, ...] = ()
        self._heights: dict[int, tuple[Content, int]] = {}
        self._folded: dict[int, list[Content]] = {}
        self._starts: list[int] = []
        self._width = 0
        self._follow = follow
        self._indent = 0
        self._at_end = follow

    @property
    def plain(self) -> str:
        """The whole text."""
        return "\n".join(line.plain for line in self._lines)

    def show_lines(self, lines: Sequence[Content], *, indent: int = 0) -> None:
        """Shows another text; what is in sight stays there, unless it is the end.

        Args:
            lines: the lines.
            indent: cells by which the rest of a folded line stands in.
        """
        self._lines = tuple(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…" for line in lines)
        self._indent = indent
        self._measure()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        at = self.scroll_offset.y + y
        index = bisect_right(self._starts, at) - 1
        width = self._width
        style = self.visual_style
        if index < 0 or index >= len(self._lines):
            return Strip.blank(self._width, style.rich_style)
        line = self._lines[index]
        part = at - self._starts[index]
        if part or line.cell_length > width:
            parts = self._folded.get(index) or self._folded.setdefault(index, self.fold(line, width))
            if part >= len(parts):
                return Strip.blank(self._width, style.rich_style)
            line = parts[part]
        strips = Visual.to_strips(self, line, width, 1, style)
        if not strips:
            return Strip.blank(self._width, style.rich_style)
        return strips[0].adjust_cell_length(self._width, style.rich_style)

    def on_resize(self) -> None:
        """Lines fold at another width."""
        self._measure()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Away from the end the text stands still."""
        super().watch_scroll_y(old_value, new_value)
        self._at_end = self._follow and new_value >= self.max_scroll_y - 0.5

    def action_down(self) -> None:
        self.scroll_to(y=self.scroll_offset.y + 1, animate=False, immediate=True, force=True)

    def action_up(self) -> None:
        self.scroll_to(y=self.scroll_offset.y - 1, animate=False, immediate=True, force=True)

    def action_page(self, pages: int) -> None:
        self.scroll_to(
            y=self.scroll_offset.y + pages * max(1, self.scrollable_content_region.height - 1),
            animate=False,
            immediate=True,
            force=True,
        )

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False, immediate=True, force=True)

    def action_bottom(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)

    def action_choose(self) -> None:
        """There is nothing to open in a text."""

    def fold(self, line: Content, width: int) -> list[Content]:
        """The lines of the screen that a line takes which is longer than `width` cells."""
        indent = self._indent if width > 2 * self._indent else 0
        if not indent:
            return line.wrap(width)
        parts = line[indent:].wrap(width - indent)
        return [line[:indent] + part if index == 0 else part.pad_left(indent) for index, part in enumerate(parts)]

    def _measure(self) -> None:
        at_end = self._at_end
        width = self.scrollable_content_region.width
        if width < 2:
            return  # hidden, or not laid out yet: on_resize measures as soon as there is a width to fold to
        known = self._heights if width == self._width else {}
        self._width = width
        self._folded = {}
        # By identity, each with its line, so that an identity cannot pass to another line while it is known.
        self._heights = {id(line): known.get(id(line)) or (line, self._height(line)) for line in self._lines}
        heights = [self._heights[id(line)][1] for line in self._lines]
        self._starts = [0, *accumulate(heights)][:-1] if heights else []
        self.virtual_size = Size(width, sum(heights))
        if at_end:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
            self._at_end = True
        self.refresh()

    def _height(self, line: Content) -> int:
        text = line.plain
        # Most lines of a long text are of one kind, and counting the cells of all would hold the screen up.
        if len(text) * (1 if text.isascii() else 2) <= self._width:
            return 1
        return len(self.fold(line, self._width)) if line.cell_length > self._width else 1
