"""The first rows of a dataset as a grid; the columns move with the arrows where there are more than fit."""

from __future__ import annotations

from textual.binding import Binding
from textual.content import Content

from kladml_core.workspace.examination import Examination
from kladml_tui.text import pad
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.row_list import RowList

_WIDEST = 24
_GAP = 2


class DatasetRows(RowList):
    """The grid."""

    BINDINGS = [
        Binding("right,l", "columns(1)", "Columns", tooltip="Show the columns further right.", id="rows.right"),
        Binding(
            "left,h", "columns(-1)", "Columns back", tooltip="Show those further left.", show=False, id="rows.left"
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, head=True)
        self._names: tuple[str, ...] = ()
        self._rows: tuple[tuple[str, ...], ...] = ()
        self._widths: dict[int, int] = {}
        self._first = 0

    def show(self, found: Examination | None) -> None:
        """Shows the first rows, or nothing yet."""
        names = () if found is None else tuple(column.name for column in found.columns)
        if names != self._names:
            self._first = 0
        self._names = names
        self._rows = () if found is None else found.preview
        self._widths = {}
        self.show_keys(tuple(str(number) for number in range(len(self._rows))))
        self.redraw()

    def head(self, width: int) -> Content:
        """The names of the columns in sight, and which these are."""
        shown = self._shown(width)
        if not shown:
            return Content()
        cells = " " * _GAP + (" " * _GAP).join(pad(self._names[at], self._width(at)) for at in shown)
        if len(shown) < len(self._names):
            where = f" {shown[0] + 1}–{shown[-1] + 1} of {len(self._names)} →"
            return Content(pad(" " * self._number + cells, width - cells_of(where)) + where)
        return Content(pad(" " * self._number + cells, width))

    def row(self, key: str, width: int) -> Content:
        """One row with its number."""
        row = self._rows[int(key)]
        cells = (" " * _GAP).join(pad(row[at], self._width(at)) for at in self._shown(width))
        return Content.assemble((f"{int(key) + 1:>{self._number}}", "$muted"), " " * _GAP, cells)

    def action_columns(self, by: int) -> None:
        """Moves by a column."""
        last = max(0, len(self._names) - 1)
        if by > 0 and self._shown(self.room.width - 1)[-1:] == [last]:
            return
        self._first = max(0, min(last, self._first + by))
        self.redraw()

    @property
    def _number(self) -> int:
        return len(str(len(self._rows)))

    def _width(self, at: int) -> int:
        known = self._widths.get(at)
        if known is None:
            widest = max((cells_of(row[at]) for row in self._rows), default=0)
            known = self._widths[at] = max(1, min(_WIDEST, max(widest, cells_of(self._names[at]))))
        return known

    def _shown(self, width: int) -> list[int]:
        """The columns that fit; the first one always, cut where it must be."""
        room = width - self._number
        shown: list[int] = []
        for at in range(self._first, len(self._names)):
            room -= self._width(at) + _GAP
            if room < 0 and shown:
                break
            shown.append(at)
        return shown
