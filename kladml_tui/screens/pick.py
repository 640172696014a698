"""Choosing one of many names: the ones that hold what is typed are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from kladml_tui.text import one_line
from kladml_tui.widgets.in_order import Line

MOST_SHOWN = 200


class Pick(ModalScreen[str]):
    """The names; dismissed with the chosen one, or an empty string on esc.

    Args:
        what: what is chosen.
        names: to choose from; untrusted text is inert.
    """

    CSS_PATH = "pick.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
    ]

    def __init__(self, what: str, names: Sequence[str]) -> None:
        super().__init__()
        self._what = what
        self._names = names
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """What is typed over the names that hold it."""
        with Vertical(id="pick"):
            yield Line(placeholder=f"{self._what}: type a part of its name")
            yield OptionList(compact=True, markup=False)

    def on_mount(self) -> None:
        """All names at first."""
        self._fill("")

    def _fill(self, typed: str) -> None:
        words = typed.casefold().split()
        self._shown = [name for name in self._names if all(word in name.casefold() for word in words)][:MOST_SHOWN]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(Content(one_line(name))) for name in self._shown])
        options.highlighted = 0 if self._shown else None

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    @on(Input.Submitted)
    def _entered(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None:
            self.dismiss(self._shown[at])

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    def action_move(self, by: int) -> None:
        """The next name, or the one before."""
        options = self.query_one(OptionList)
        if self._shown:
            options.highlighted = ((options.highlighted or 0) + by) % len(self._shown)

    def action_leave(self) -> None:
        """Back, nothing chosen."""
        self.dismiss("")
