"""What is wrong with the config, one line a problem, in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from kladml_tui.text import one_line

MOST = 100
"""Problems shown; who has more mends these first."""


@dataclass(frozen=True)
class Finding:
    """One problem as the editor shows it."""

    message: str
    line: int | None = None
    """From 1; None where the problem has no place in this text."""
    column: int | None = None
    hint: str | None = None
    where: str = ""
    """Said in place of line:column where there is none."""

    @property
    def place(self) -> str:
        """`12:3`, or what the problem has instead."""
        return self.where if self.line is None else f"{self.line}:{self.column or 1}"

    def content(self) -> Content:
        """The problem on the screen: place, message, suggestion."""
        text = Content.assemble((f"{one_line(self.place):>6}", "$editor-error bold"), "  ", one_line(self.message))
        if self.hint:
            text = Content.assemble(text, "  ", (one_line(self.hint), "$muted"))
        return text


class ProblemList(OptionList):
    """The list; enter on a problem posts `Chosen`."""

    BINDINGS = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A person chose a problem to go to."""

        index: int
        """Its place in `findings`."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, markup=False)
        self.findings: tuple[Finding, ...] = ()

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Shows these problems; the chosen one stays chosen where it is still there."""
        findings = tuple(findings[:MOST])
        if findings == self.findings:
            return
        kept = self.findings[self.highlighted] if self.highlighted is not None and self.findings else None
        self.findings = findings
        self.clear_options()
        self.add_options([Option(finding.content()) for finding in findings])
        if kept in findings:
            self.highlighted = findings.index(kept)
        self.display = bool(findings)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        event.stop()
        self.post_message(self.Chosen(event.option_index))

    def step(self, by: int, line: int) -> int | None:
        """The problem to go to from a line (from 1): the next or the previous one, round the end.

        Args:
            by: 1 or -1.
            line: where the cursor is.
        """
        places: list[tuple[int, int]] = [(f.line, i) for i, f in enumerate(self.findings) if f.line is not None]
        if not places:
            return None
        if self.highlighted is not None and (line, self.highlighted) in places:
            return places[(places.index((line, self.highlighted)) + by) % len(places)][1]
        beyond = [i for at, i in places if (at > line if by > 0 else at < line)]
        if by > 0:
            return beyond[0] if beyond else places[0][1]
        return beyond[-1] if beyond else places[-1][1]
