"""The queue as rows: place, run, what it does, what it needs, since when, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from kladml_tui.run_line import GLYPHS, duration
from kladml_tui.text import one_line, pad, shorten
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from kladml_core.runs.queue_list import Entry

_PLACE, _STATE, _NEEDS, _SINCE, _LEAST = 4, 8, 7, 7, 12


class QueueTable(RowList):
    """The table; a row's key is the number of its item."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, head=True)
        self._entries: dict[str, Entry] = {}

    def show(self, found: Sequence[Entry]) -> None:
        """Shows the queue as it is now."""
        self._entries = {str(entry.item.number): entry for entry in found}
        self.show_keys(tuple(self._entries))
        self.redraw()

    @property
    def current(self) -> Entry | None:
        """What the cursor is on."""
        return self._entries.get(self.cursor_key or "")

    def head(self, width: int) -> Content:
        """The titles of the columns."""
        return Content(self._line_of("#", "run", "state", "needs", "waits", "", width))

    def row(self, key: str, width: int) -> Content:
        """One item; the reason has what the others leave."""
        entry = self._entries[key]
        item, waits = entry.item, entry.place is not None
        word = "queued" if waits else entry.state
        place = str(entry.place) if waits else GLYPHS.get(word, "·")
        since = duration(time.time() - item.created) if waits else ""
        words = one_line(entry.reason or ("" if item.mine else f"of {item.user}"))
        text = self._line_of(place, item.run, entry.state, item.need.text, since, words, width)
        return Content.assemble((text[:_PLACE], f"$state-{word}"), (text[_PLACE:], "" if item.mine else "$muted"))

    def _line_of(self, place: str, run: str, state: str, needs: str, since: str, words: str, width: int) -> str:
        longest = max((cells_of(entry.reference) for entry in self._entries.values()), default=3)
        room = width - _PLACE - _STATE - _NEEDS - _SINCE - 5
        # The run's own name is at the end of its reference; a reason keeps some room beside it.
        cells = max(3, min(longest, room - _LEAST if any(one.reason for one in self._entries.values()) else room))
        name = pad(shorten(run, cells, keep="end"), cells)
        columns = (pad(place, _PLACE - 1), name, pad(state, _STATE), pad(needs, _NEEDS), since.rjust(_SINCE))
        return shorten(" ".join((*columns, words)), width)
