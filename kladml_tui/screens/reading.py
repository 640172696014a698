"""A text over the workbench that is read, scrolled and copied; its heirs say what it holds."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.screen import ModalScreen
from textual.worker import Worker

from kladml_tui import faults
from kladml_tui.text import notice, one_line
from kladml_tui.widgets.text_lines import LONGEST_LINE, TextLines


class Reading(ModalScreen[None]):
    """The text in a frame.

    Args:
        heading: the frame's title; untrusted text is inert.
    """

    CSS_PATH = "reading.tcss"
    BINDINGS = [Binding("escape,q", "dismiss", "Close"), Binding("y", "copy", "Copy")]
    KEYS = "y copies · esc closes"
    """What the frame says of the keys."""

    def __init__(self, heading: str) -> None:
        super().__init__()
        self._heading = heading

    def compose(self) -> ComposeResult:
        """One text."""
        yield Page(id="page")

    def on_mount(self) -> None:
        """Frames it."""
        page = self.query_one(Page)
        page.border_title = Content(f" {one_line(self._heading)} ")
        page.border_subtitle = Content(f" {self.KEYS} ")
        page.focus()

    def draw(self, width: int) -> Sequence[Content]:
        """The lines, for a width in cells."""
        raise NotImplementedError

    def copied(self) -> str:
        """What `y` copies, inert."""
        return self.query_one(Page).plain

    def draw_again(self) -> None:
        """There is more to show."""
        self.query_one(Page).draw()

    def action_copy(self) -> None:
        """Puts the text on the clipboard of the terminal."""
        text = self.copied()
        self.app.copy_to_clipboard(text)
        notice(self.app, f"{len(text.splitlines()):,} lines", title="Copied")

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)


class Page(TextLines):
    """The text of a `Reading`, drawn anew for each width."""

    def draw(self) -> None:
        """Asks the screen for the lines."""
        screen = self.screen
        width = self.scrollable_content_region.width
        if width > 1 and isinstance(screen, Reading):
            self.show_lines([part for line in screen.draw(width) for part in _parts(line)])

    def on_resize(self) -> None:
        """Another width."""
        self.draw()


def _parts(line: Content) -> list[Content]:
    """A line in parts that are shown whole: who opens a text wants all of it."""
    return [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)] or [line]
