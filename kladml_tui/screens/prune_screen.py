"""What pruning would move into the trash, line by line with its size, before anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static
from textual.worker import Worker

from kladml_core.errors import KladMLError
from kladml_tui import faults
from kladml_tui.messages import Chosen
from kladml_tui.run_line import size
from kladml_tui.text import content, notice, one_line, pad, shorten
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from kladml_core.runs.prune import Proposal
    from kladml_core.runs.prune_rules import Candidate, Left

_WHAT_CELLS = 30
_SIZE_CELLS = 8


class PruneList(RowList):
    """What would go, then what stays although somebody might expect it to go."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, head=True)
        self._lines: dict[str, Candidate | Left] = {}
        self._one_run = True

    def show(self, proposal: Proposal) -> None:
        """Shows a proposal."""
        everything: Sequence[Candidate | Left] = (*proposal.lines, *proposal.left)
        self._lines = {str(number): line for number, line in enumerate(everything)}
        self._one_run = len({line.run for line in everything}) == 1
        self.show_keys(tuple(self._lines))
        self.redraw()

    def head(self, width: int) -> Content:
        """The titles of the columns."""
        return Content(f"{'':{self._cells(width)}} {'size':>{_SIZE_CELLS}}  why") if self._lines else Content()

    def row(self, key: str, width: int) -> Content:
        """One thing; what stays is without a size, and says why."""
        line = self._lines[key]
        cells = self._cells(width)
        name = line.what if self._one_run else f"{line.run} {line.what}" if line.what != _last(line.run) else line.run
        named = pad(shorten(name or line.run, cells, keep="end"), cells)
        why = one_line(line.why)
        bytes_of = getattr(line, "bytes", None)
        if bytes_of is None:
            parts = [(named, "$muted"), (f" {'':>{_SIZE_CELLS}}  stays: {why}", "$muted")]
        else:
            parts = [(named, "bold"), (f" {size(bytes_of):>{_SIZE_CELLS}}  ", ""), (why, "$muted")]
        text = Content.assemble(*parts)
        return text.truncate(width, ellipsis=True) if text.cell_length > width else text

    def _cells(self, width: int) -> int:
        longest = max((cells_of(f"{line.run} {line.what}") for line in list(self._lines.values())[:200]), default=8)
        return min(_WHAT_CELLS if self._one_run else longest, max(10, width // 2))


class PruneScreen(ModalScreen["Proposal | str | None"]):
    """Shows what would go, and is dismissed with it once a person agrees; with `empty` when the trash is to be emptied.

    Args:
        data: the workspace's data directory.
        reference: of a run, an experiment, a family or a project; "" means all.
    """

    CSS_PATH = "prune_screen.tcss"
    AUTO_FOCUS = "PruneList"
    BINDINGS = [
        Binding("y", "agree", "Move it into the trash"),
        Binding("w", "whole", "Whole runs too, or not"),
        Binding("e", "empty", "Empty the trash"),
        Binding("escape,q,x", "leave", "Go back"),
    ]

    def __init__(self, data: Path, reference: str) -> None:
        super().__init__()
        self._data = data
        self._reference = reference
        self._runs = False
        self._proposal: Proposal | None = None
        self._in_trash: tuple[int, int] = (0, 0)

    def compose(self) -> ComposeResult:
        """The list between what it is of and what can be done."""
        with Vertical(id="prune"):
            yield PruneList(id="lines")
            yield Static(id="total")
            yield Static(id="keys")

    def on_mount(self) -> None:
        """Looks at the disk, in a thread."""
        box = self.query_one("#prune")
        box.border_title = Content.assemble("Prune ", content(self._reference or "every project"))
        self._look()

    @work(group="prune", exclusive=True, exit_on_error=False)
    async def _look(self) -> None:
        self._proposal = None
        self._say(Content.styled("looking at the disk…", "$muted"))
        try:
            proposal, self._in_trash = await asyncio.to_thread(_look, self._data, self._reference, self._runs)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not pruned")
            self.dismiss(None)
            return
        self.query_one(PruneList).show(proposal)
        self._proposal = proposal
        self._say(_total(proposal))

    def _say(self, total: Content) -> None:
        self.query_one("#total", Static).update(total)
        keys: list[tuple[str, str]] = []
        if self._proposal is not None and self._proposal.lines:
            keys.append(("y", "move it into the trash"))
        keys.append(("w", "only checkpoints" if self._runs else "whole runs too"))
        count, held = self._in_trash
        if count:
            keys.append(("e", f"empty the trash ({size(held)})"))
        keys.append(("esc", "go back"))
        words = [part for key, text in keys for part in ((f"{key:>4}", "bold"), f"  {text}\n")]
        self.query_one("#keys", Static).update(Content.assemble(*words).rstrip())

    @on(Chosen)
    def action_agree(self) -> None:
        """What is shown is to go."""
        if self._proposal is not None and self._proposal.lines:
            self.dismiss(self._proposal)

    def action_whole(self) -> None:
        """Whole runs too, or checkpoints alone again."""
        self._runs = not self._runs
        self._look()

    def action_empty(self) -> None:
        """The trash is to be emptied."""
        if self._in_trash[0]:
            self.dismiss("empty")

    def action_leave(self) -> None:
        """Nothing is to go."""
        self.dismiss(None)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)


def _look(data: Path, reference: str, runs: bool) -> tuple[Proposal, tuple[int, int]]:
    from kladml_core.runs.prune import propose
    from kladml_core.runs.trash import entries

    found = entries(data)
    held = (len(found), sum(entry.bytes for entry in found))
    return propose(data, [reference] if reference else [], runs=runs), held


def _total(proposal: Proposal) -> Content:
    count, live = len(proposal.lines), len(proposal.live)
    parts: list[tuple[str, str]] = []
    if count:
        parts.append((f"{count} {'thing' if count == 1 else 'things'}, {size(proposal.bytes)} in all", "bold"))
        parts.append(("; free once the trash is emptied", "$muted"))
    else:
        parts.append(("nothing to prune: the best, the newest and the pinned checkpoints stay", "$muted"))
    if live:
        parts.append((f"\n{live} live {'run is' if live == 1 else 'runs are'} left alone", "$muted"))
    return Content.assemble(*parts)


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
