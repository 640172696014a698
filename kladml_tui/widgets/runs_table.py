"""The runs of an experiment (or of a family, a project, all), newest first; a run is read when it comes into sight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from kladml_tui.look import RunState
from kladml_tui.messages import RowsWanted
from kladml_tui.run_line import GLYPHS, RunLine, number
from kladml_tui.text import one_line, pad, shorten
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.row_list import RowList
from kladml_tui.widgets.run_columns import STAR, Column, chosen_columns, fit, titles, usual_columns

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.workspace.values import Value
    from kladml_tui.run_store import Choice


class RunsTable(RowList):
    """The table. It reads nothing itself: `RowsWanted` asks for the rows that came into sight."""

    def __init__(self, projects: Path, *, id: str | None = None) -> None:
        super().__init__(id=id, head=True)
        self._projects = projects
        self._runs: tuple[str, ...] = ()
        self._lines: dict[str, RunLine] = {}
        self._states: Mapping[str, RunState] = {}
        self._shown: tuple[str, ...] = ()
        self._choice: Choice | None = None
        self._waiting = False
        self._values: tuple[Value, ...] = ()
        self._prefix = ""
        self._asked: dict[str, str] = {}
        """Runs that were asked for, each with the stamp that it had."""
        self._marks: dict[str, None] = {}
        self._fitted: tuple[object, list[tuple[Column, int]]] | None = None

    # What is shown

    @property
    def current(self) -> RunDirectory | None:
        """The run under the cursor."""
        from kladml_core.runs.rundir import RunDirectory  # not needed before the first frame

        return None if self.cursor_key is None else RunDirectory(self._projects / self.cursor_key)

    def show_choice(self, chosen: Choice | None, *, anew: bool = False) -> None:
        """Shows what a filter and a sort have chosen of the runs, in the columns that go with them.

        Args:
            chosen: what they chose; None shows all, the newest first, in the usual columns.
            anew: the person has just changed what is asked for: the cursor leaves a run that is no longer shown for
                the first one, instead of staying at its place.
        """
        before = self.cursor_key
        self._waiting = False
        values = () if chosen is None else chosen.values
        if values != self._values:
            self._values = values
            self._fitted = None
            self._asked.clear()  # what the columns show may not have been read
            self.redraw()
        if chosen != self._choice:
            self._choice = chosen
            self.refresh()
        self._order()
        if anew:
            # Elsewhere in another order, and the next key is meant for it: it must be seen.
            self.action_top() if before not in self.keys else self._show_cursor()
        self._ask()

    def expect(self) -> None:
        """Something will be chosen of the runs: those of another place are not all shown for a moment."""
        self._waiting = True

    @property
    def choice(self) -> Choice | None:
        """What was chosen of the runs."""
        return self._choice

    @property
    def values(self) -> tuple[Value, ...]:
        """What the columns show, where they were chosen."""
        return self._values

    @property
    def runs(self) -> tuple[str, ...]:
        """References of all runs there are here, shown or not."""
        return self._runs

    @property
    def counts(self) -> tuple[int, int]:
        """Runs shown, and runs there are."""
        return len(self.keys), len(self._runs)

    @property
    def marked(self) -> tuple[str, ...]:
        """References of the marked runs, of this experiment or another, in the order in which they were marked."""
        return tuple(self._marks)

    def toggle_mark(self) -> None:
        """Marks the run under the cursor, or takes its mark off, and goes on to the next one."""
        key = self.cursor_key
        if key is None:
            return
        if key in self._marks:
            del self._marks[key]
        else:
            self._marks[key] = None
        self.redraw([key])
        self.refresh()  # the line above the rows tells how many there are
        self.action_down()

    def clear_marks(self, references: Iterable[str] | None = None) -> None:
        """Takes the marks off these runs, or off all."""
        gone = [key for key in (self.marked if references is None else references) if key in self._marks]
        for key in gone:
            del self._marks[key]
        if gone:
            self.redraw(gone)
            self.refresh()

    def line_of(self, reference: str) -> RunLine | None:
        """What is known of a run of this table."""
        return self._lines.get(reference)

    def show(self, prefix: str, runs: Sequence[str], states: Mapping[str, RunState]) -> None:
        """Shows the runs below a prefix.

        Args:
            prefix: `project/family/experiment`, a beginning of it, or "" for all.
            runs: their references, in the order to show.
            states: the state of each run as far as it is known.
        """
        if prefix != self._prefix:
            self._prefix = prefix
            if self._choice is not None:
                self._choice, self._waiting = None, True
            self._lines.clear()
            self._asked.clear()
            self._strips.clear()
            self._fitted = None
        self._runs = tuple(runs)
        moved = [ref for ref in self.visible_keys() if self._words(ref) != _words(states, ref)]
        self._states = states
        self.redraw(moved)
        # A run whose status is another now is read again when it is in sight.
        stale = [ref for ref, line in self._lines.items() if self._word(ref) not in ("", line.word)]
        for reference in stale:
            self._asked.pop(reference, None)
        self._order()
        self._ask()

    def show_lines(self, lines: Iterable[RunLine]) -> None:
        """Shows what was read of some runs."""
        changed = []
        for line in lines:
            self._lines[line.reference] = line
            self._asked.setdefault(line.reference, "")
            changed.append(line.reference)
        self.redraw(changed)

    def tick(self) -> None:
        """A second passed: durations of live runs go on."""
        self.redraw(
            [key for key in self.visible_keys() if (line := self._lines.get(key)) is not None and line.status.live]
        )

    def rows_shown(self, keys: Sequence[str]) -> None:
        """Asks for the rows that are not read yet."""
        self._ask()

    def _ask(self) -> None:
        # Another stamp: a note, a tag or a star of another window, or values that are not followed.
        missing = tuple(key for key in self.visible_keys() if self._asked.get(key) != self._stamp(key))
        if missing:
            self._asked.update((key, self._stamp(key)) for key in missing)
            self.post_message(RowsWanted(missing))

    def _order(self) -> None:
        if self._choice is None:
            self.show_keys(() if self._waiting else self._runs)
            return
        there = frozenset(self._runs)
        self.show_keys(tuple(reference for reference in self._choice.order if reference in there))

    def _stamp(self, reference: str) -> str:
        state = self._states.get(reference)
        return state.stamp if state is not None else ""

    def _word(self, reference: str) -> str:
        state = self._states.get(reference)
        return state.word if state is not None else ""

    def _words(self, reference: str) -> str:
        return _words(self._states, reference)

    def _status(self, line: RunLine) -> str:
        """The run's word; of one that waits with its place, which is the queue's to know."""
        return self._words(line.reference) if line.word == "queued" == self._word(line.reference) else line.word

    # Drawing

    def head(self, width: int) -> Content:
        """The titles of the columns, and what the list holds."""
        heads = f"  {titles(self._columns(width))}"
        shown, there = self.counts
        chosen = self._choice
        count = f"{there:,} runs" if there != 1 else "1 run"
        if chosen is not None:
            if chosen.filter:
                count = f"{shown:,} of {there:,} match {shorten(repr(one_line(chosen.filter)), 30)}"
            if chosen.sort:
                count = f"{count} · by {one_line(chosen.sort)}{' ↓' if chosen.reverse else ''}"
            if chosen.missing:
                count = f"{count} · {chosen.missing:,} to be read"
        if self._marks:
            count = f"{len(self._marks)} marked · {count}"
        heads = heads.rstrip()
        count = shorten(count, max(0, width - 2 - self._columns(width)[0][1]))
        gap = width - 1 - cells_of(count)
        # A filter and marks must be seen; how many runs there are, the tree says too.
        if cells_of(heads) + 2 > gap and not (self._marks or (chosen is not None and chosen.told)):
            return Content(shorten(heads, width))
        return Content(pad(shorten(heads, max(0, gap - 2)), gap) + count)

    def nothing(self) -> str:
        """A filter that lets nothing through."""
        if self._choice is None or not self._choice.filter:
            return ""
        return "; ".join(("no run matches", *self._choice.unknown, "esc shows all again"))

    def row(self, key: str, width: int) -> Content:
        """Glyph, name, status in a word, and figures as far as there is room."""
        line = self._lines.get(key)
        if line is None:
            word = self._word(key)
            return Content.assemble(
                (GLYPHS.get(word, "·"), f"$state-{word}" if word in GLYPHS else "$muted"),
                self._mark(key),
                (self._padded(key, width), ""),
                (f" {self._words(key)}", "$muted"),
            )
        parts: list[tuple[str, str]] = [(GLYPHS.get(line.word, "·"), f"$state-{line.word}"), self._mark(key)]
        for column, cells in self._columns(width):
            text = shorten(column.text(line), cells, keep="end" if column.title == "run" else "start")
            filled = text.rjust(cells - cells_of(text) + len(text)) if column.right else pad(text, cells)
            style = column.style
            if column.title == "status":
                style = f"$state-{line.word}"
            elif column.title == "last value" and line.figure is not None and "n" in number(line.figure.value).lower():
                style = "$error"
            parts += [(filled, style), (" ", "")]
        return Content.assemble(*parts)

    def _mark(self, key: str) -> tuple[str, str]:
        if key in self._marks:
            return ("*", "$accent bold")
        line = self._lines.get(key)
        return (STAR, "$mark-best") if line is not None and line.star else (" ", "")

    def _padded(self, reference: str, width: int) -> str:
        cells = self._columns(width)[0][1]
        # The run's own name is at the end of the reference.
        return pad(shorten(self._short(reference), cells, keep="end"), cells)

    def _short(self, reference: str) -> str:
        return reference.removeprefix(f"{self._prefix}/") if self._prefix else reference

    def _columns(self, width: int) -> list[tuple[Column, int]]:
        """The columns that fit, with their cells."""
        longest = max((cells_of(self._short(key)) for key in self.keys[:200]), default=8)
        name = Column(
            "run",
            max(8, min(longest, max(9, width // 3))),
            lambda line: self._short(line.reference),
            99,
            style="bold",
        )
        status = Column("status", 10, self._status, 8)
        if not self._values:
            seen: object = (width, name.cells)
            if self._fitted is None or self._fitted[0] != seen:
                self._fitted = (seen, fit(usual_columns(name, status), width))
            return self._fitted[1]
        lines = [line for key in self.visible_keys() if (line := self._lines.get(key)) is not None]
        seen = (width, name.cells, tuple(map(id, lines)))
        if self._fitted is None or self._fitted[0] != seen:
            before = None if self._fitted is None else [(one.title, cells) for one, cells in self._fitted[1]]
            self._fitted = (seen, fit(chosen_columns(name, status, self._values, lines), width))
            if before is not None and before != [(one.title, cells) for one, cells in self._fitted[1]]:
                self._strips.clear()
                self.call_later(self.refresh)
        return self._fitted[1]


def _words(states: Mapping[str, RunState], reference: str) -> str:
    state = states.get(reference)
    return state.words if state is not None else ""
