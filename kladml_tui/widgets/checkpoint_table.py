"""The checkpoints of a run, the newest at the top; a damaged one says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.message import Message

from kladml_core.runs.checkpoint_list import CheckpointRow
from kladml_tui.commands import bindings
from kladml_tui.run_line import moment, number, size
from kladml_tui.text import one_line
from kladml_tui.widgets.row_list import RowList


class CheckpointTable(RowList):
    """The table."""

    BINDINGS = bindings("checkpoints")

    @dataclass
    class PinWanted(Message):
        """A person wants a checkpoint pinned, or its pin taken away."""

        checkpoint: str
        pinned: bool

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, head=True)
        self._rows: dict[str, CheckpointRow] = {}

    def show(self, rows: Sequence[CheckpointRow]) -> None:
        """Shows these checkpoints."""
        found = {row.name: row for row in rows}
        changed = [name for name, row in found.items() if self._rows.get(name) != row]
        self._rows = found
        self.show_keys(tuple(found))
        self.redraw(changed)
        self.refresh()

    def head(self, width: int) -> Content:
        """The titles of the columns."""
        if not self._rows:
            return Content("  no checkpoint yet")
        titles = f"  {'checkpoint':<18} {'step':>9} {'epoch':>5} {'size':>8}  {'written':<16}  metrics"
        total = f"{size(sum(row.bytes for row in self._rows.values()))} in all"
        gap = width - 1 - len(total)
        return Content(titles[: gap - 2].ljust(gap) + total if gap > len(titles) else titles[:width])

    def row(self, key: str, width: int) -> Content:
        """One checkpoint; ◆ is the best, and the newest is said to be so."""
        row = self._rows[key]
        mark = ("◆ ", "$mark-best bold") if row.best else ("  ", "")
        parts: list[tuple[str, str]] = [
            mark,
            (f"{one_line(row.name):<18} ", "bold" if row.valid else "$error"),
            (f"{row.step:>9} {row.epoch:>5} {size(row.bytes):>8}  ", ""),
            (f"{moment(row.time):<16}  ", "$muted"),
        ]
        if row.pinned:
            parts.append(("pinned  ", "$primary bold"))
        if not row.valid:
            parts.append((f"damaged: {one_line(row.problem)}", "$error"))
        else:
            if row.best:
                parts.append(("best  ", "$mark-best bold"))
            if row.latest:
                parts.append(("newest  ", "$accent"))
            figures = "  ".join(f"{one_line(name)} {number(value)}" for name, value in row.metrics.items())
            parts.append((figures, "$muted"))
        line = Content.assemble(*parts)
        return line.truncate(width, ellipsis=True) if line.cell_length > width else line

    def action_pin(self) -> None:
        """Pins the checkpoint under the cursor, or takes its pin away."""
        row = self._rows.get(self.cursor_key or "")
        if row is not None:
            self.post_message(self.PinWanted(row.name, not row.pinned))
