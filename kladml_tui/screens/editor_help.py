"""What the keys of the config editor do, in a box over it."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

TYPING = (
    ("esc", "leave typing: letters become commands"),
    ("tab", "complete the key that is offered, or indent"),
    ("shift+tab", "indent less"),
    ("^space", "list the keys that may stand here"),
    ("^s", "save, where the terminal lets it through"),
    ("^z  ^y", "undo, redo"),
    ("^x  ^c  ^v", "cut, copy, paste"),
)
COMMANDS = (
    ("w", "save"),
    ("t", "check, save and launch"),
    ("u", "undo"),
    ("U  ^r", "redo"),
    ("n  N", "go to the next, the previous problem"),
    ("i  enter", "type again"),
    ("space", "list the keys that may stand here"),
    ("hjkl  g  G", "move; to the first, the last line"),
    ("tab", "to the list of problems; enter goes to one"),
    ("q", "close; asks when something is not saved"),
)


class EditorHelp(ModalScreen[None]):
    """Any of esc, q, ? and enter puts it away."""

    CSS_PATH = "editor_help.tcss"
    BINDINGS = [
        Binding("escape,q,question_mark,enter", "dismiss", "Close", show=False),
        Binding("j", "scroll('down')", show=False),
        Binding("k", "scroll('up')", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Both modes, one under the other."""
        with VerticalScroll(id="help"):
            yield Static(_table("While typing", TYPING))
            yield Static()
            yield Static(_table("Commands", COMMANDS))

    def action_scroll(self, direction: str) -> None:
        """Moves in a box that is taller than the screen."""
        box = self.query_one(VerticalScroll)
        box.scroll_relative(y=1 if direction == "down" else -1, animate=False)


def _table(heading: str, keys: Iterable[tuple[str, str]]) -> Content:
    parts: list[tuple[str, str] | str] = [(heading, "bold")]
    for key, words in keys:
        parts += ["\n", (f"{key:>12}", "$accent"), f"  {words}"]
    return Content.assemble(*parts)
