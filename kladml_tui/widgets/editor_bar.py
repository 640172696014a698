"""The editor's top line: which file, whether it is saved and valid, and what letters do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from kladml_tui.text import shorten, width

_STATE_ROOM = 36


@dataclass(frozen=True)
class EditorState:
    """What the bar says."""

    path: Path
    typing: bool
    saved: str = ""
    """`unsaved`, `new`, `reading`, or nothing where all is on disk."""
    problems: int | None = None
    """How many there are; None before the text was first checked."""


class EditorBar(Horizontal):
    """One line over the text."""

    DEFAULT_CSS = """
    EditorBar { height: 1; background: $surface; }
    EditorBar #where { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    EditorBar #mode { width: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state: EditorState | None = None

    def compose(self) -> ComposeResult:
        """The file on the left, the mode on the right."""
        yield Static(id="where")
        yield Static(id="mode")

    def show(self, state: EditorState) -> None:
        """Says this."""
        if state != self._state:
            self._state = state
            self._draw()

    def on_resize(self) -> None:
        """There is other room."""
        self._draw()

    def _draw(self) -> None:
        state = self._state
        if state is None or not self.is_mounted:
            return
        room = max(10, self.size.width - _STATE_ROOM)
        parts: list[tuple[str, str]] = [(f" {shorten(state.path.name, room)}", "bold")]
        left = room - width(state.path.name) - 2
        if left > 12:
            parts.append((f"  {shorten(state.path.parent, left, keep='end')}", "$muted"))
        if state.saved:
            parts.append((f"  ● {state.saved}", "$warning"))
        if state.problems:
            parts.append((f"  {state.problems} problem{'s' if state.problems > 1 else ''}", "$error"))
        elif state.problems == 0:
            parts.append(("  ✓ valid", "$success"))
        self.query_one("#where", Static).update(Content.assemble(*parts))
        words, colour = ("typing", "$primary") if state.typing else ("commands", "$accent")
        self.query_one("#mode", Static).update(Content.styled(f"  {words}  ", f"$block-cursor-foreground on {colour}"))
