"""The events of a run, the newest at the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from kladml_tui.event_text import event_line
from kladml_tui.widgets.row_list import RowList

_OLDER = "older"
"""The key of the last row, where not all events are shown."""


class EventList(RowList):
    """Events by their number in the file. A row is put into words when it comes into sight."""

    def __init__(self, *, id: str | None = None, cursor: bool = True, limit: int | None = None) -> None:
        super().__init__(id=id, cursor=cursor)
        self._events: dict[str, Mapping[str, Any]] = {}
        self._limit = limit
        self._shown: tuple[int, int] = (0, 0)
        self._older = 0

    def show(self, events: Sequence[Mapping[str, Any]], *, older: int = 0) -> None:
        """Shows these events, given oldest first, and says that there were `older` ones before them."""
        if self._limit is not None:
            events = events[-self._limit :]
        # The same deque of events grows at one end only: its ends say whether anything came.
        shown = (id(events[0]) if events else 0, id(events[-1]) if events else 0)
        if shown == self._shown and len(events) == len(self._events):
            return
        self._shown = shown
        at_top = self.scroll_offset.y == 0 and self.cursor_key == next(iter(self.keys), None)
        self._events = {
            f"{event.get('attempt')}:{event.get('seq')}:{event.get('kind')}": event for event in reversed(events)
        }
        self._strips = {key: strip for key, strip in self._strips.items() if key in self._events}
        self._older = older
        self.show_keys((*self._events, _OLDER) if older else tuple(self._events))
        if at_top:
            # Who looks at the newest goes on looking at the newest.
            self.action_top()

    def event(self, key: str) -> Mapping[str, Any] | None:
        """The event of a row."""
        return self._events.get(key)

    def row(self, key: str, width: int) -> Content:
        """One event on one line."""
        if key == _OLDER:
            line = Content.styled(f"… {self._older:,} older events are in the run's events.jsonl", "$muted")
        else:
            line = event_line(self._events[key])
        return line.truncate(width, ellipsis=True) if line.cell_length > width else line
