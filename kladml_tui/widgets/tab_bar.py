"""The tabs of the run view on one line; a click chooses one."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.widget import Widget

from kladml_tui.commands import TABS
from kladml_tui.messages import TabWanted


class TabBar(Widget):
    """`1 Curves  2 Events  …`, the one that is open marked."""

    DEFAULT_CSS = """
    TabBar { height: 1; background: $surface; }
    """
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._open = TABS[0]
        self._near = False
        self._counts: dict[str, str] = {}

    def show(self, *, tab: str | None = None, near: bool | None = None, counts: dict[str, str] | None = None) -> None:
        """Marks the tab that is open, whether the keys go there, and says what a tab holds."""
        new = (
            self._open if tab is None else tab,
            self._near if near is None else near,
            self._counts if counts is None else counts,
        )
        if new != (self._open, self._near, self._counts):
            self._open, self._near, self._counts = new
            self.refresh()

    def _labels(self) -> list[tuple[str, str, str]]:
        """Tab, key and words of each."""
        for counts, words in ((self._counts, True), ({}, True), ({}, False)):
            labels = []
            for number, tab in enumerate(TABS, 1):
                text = f"{tab.capitalize()} {counts.get(tab, '')}".strip() if words or tab == self._open else ""
                labels.append((tab, f" {number} ", f"{text} " if text else ""))
            if sum(len(key) + len(text) for _, key, text in labels) <= self.size.width:
                break
        return labels

    def render(self) -> Content:
        """The line."""
        parts: list[tuple[str, str]] = []
        for tab, key, words in self._labels():
            if tab == self._open:
                style = "$block-cursor-foreground on $primary bold" if self._near else "$primary bold"
                parts += [(key, style), (words, style)]
            else:
                parts += [(key, "$accent"), (words, "$muted")]
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        """Opens the tab that was clicked."""
        at = 0
        for tab, key, words in self._labels():
            at += len(key) + len(words)
            if event.x < at:
                self.post_message(TabWanted(tab))
                return
