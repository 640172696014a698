"""What the worker printed: the end of console.log, made inert, its last line in sight while more comes."""

from __future__ import annotations

from collections import deque

from textual.content import Content

from kladml_tui.text import block, decode
from kladml_tui.widgets.text_lines import LONGEST_LINE, TextLines

KEPT_LINES = 5000
TAIL_BYTES = 512 * 1024
"""How much of a long log is read; the whole is in the run's console.log."""


class ConsoleView(TextLines):
    """Lines of output. Fed with the bytes that came."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, follow=True)
        self._kept: deque[Content] = deque(maxlen=KEPT_LINES)
        self._rest = b""
        self._cut = False

    def begin(self, *, cut: bool = False) -> None:
        """Forgets the output of the run before; `cut` says that the beginning of the log is left out."""
        self._kept.clear()
        self._rest = b""
        self._cut = cut
        self._at_end = True
        self._show()

    def feed(self, data: bytes) -> None:
        """Takes further output; a line without its end is shown and goes on with the next output."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-TAIL_BYTES:]
        self._kept.extend(_line(line) for line in lines)
        self._show()

    def _show(self) -> None:
        shown = [*self._kept, *([_line(self._rest)] if self._rest else [])]
        if self._cut or len(self._kept) == KEPT_LINES:
            shown.insert(0, Content.styled("… the beginning is in the run's console.log", "$muted"))
        self.show_lines(shown or [Content.styled("nothing printed yet", "$muted")])


def _line(raw: bytes) -> Content:
    # A progress bar draws itself anew after each carriage return: its last state is what a terminal would show.
    text = decode(raw.rstrip(b"\r").rpartition(b"\r")[2][: 4 * LONGEST_LINE])
    return block(text.replace("\n", " "))
