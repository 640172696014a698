"""What the widgets of the workbench tell their screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from kladml_tui.widgets.row_list import RowList


@dataclass
class Moved(Message):
    """The cursor of a list is on another row, or the row it was on went away."""

    source: RowList
    key: str | None
    """The row's key; None in an empty list."""


@dataclass
class Chosen(Message):
    """Enter or a double click on a row."""

    source: RowList
    key: str


@dataclass
class RowsWanted(Message):
    """Rows that are in sight and not read yet."""

    references: tuple[str, ...]


@dataclass
class TabWanted(Message):
    """A click on a tab."""

    tab: str
