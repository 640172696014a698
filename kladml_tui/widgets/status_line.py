"""The top line: the workspace, the place in it, and how many runs are going on."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from kladml_tui.text import one_line, shorten
from kladml_tui.text import width as cells_of


class StatusLine(Widget):
    """One line."""

    DEFAULT_CSS = """
    StatusLine { height: 1; dock: top; background: $surface; }
    """

    def __init__(self, workspace: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._workspace = workspace
        self._place = ""
        self._counts: tuple[tuple[str, int], ...] = ()
        self._busy = "looking…"

    def show(
        self, *, place: str | None = None, counts: tuple[tuple[str, int], ...] | None = None, busy: str | None = None
    ) -> None:
        """Shows another place, other counts (status, number), or what the app is busy with."""
        new = (
            self._place if place is None else place,
            self._counts if counts is None else counts,
            self._busy if busy is None else busy,
        )
        if new != (self._place, self._counts, self._busy):
            self._place, self._counts, self._busy = new
            self.refresh()

    def render(self) -> Content:
        """`kladml  workspace  vision/digits/cnn ── 2 running · 1 queued`."""
        width = self.size.width
        right: list[tuple[str, str]] = []
        for status, number in self._counts:
            right += [(" · ", "$muted")] if right else []
            right.append((f"{number} {status}", f"$state-{status}"))
        if self._busy:
            right += [(" · ", "$muted")] if right else []
            right.append((self._busy, "$muted"))
        elif not right:
            right.append(("nothing running", "$muted"))
        right_cells = sum(cells_of(text) for text, _ in right)
        room = width - right_cells - 14
        name = shorten(self._workspace, max(8, room // 3))
        place = shorten(self._place, max(0, room - cells_of(name) - 3), keep="end")
        left: list[tuple[str, str]] = [(" kladml ", "$primary bold"), (f" {one_line(name)}", "bold")]
        if place:
            left += [(" › ", "$muted"), (place, "")]
        used = sum(cells_of(text) for text, _ in left)
        return Content.assemble(*left, (" " * max(1, width - used - right_cells - 1), ""), *right, " ")
