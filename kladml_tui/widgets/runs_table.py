"""The runs of an experiment (or of a family, a project, all), newest first; a run is read when it comes into sight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from kladml_tui.look import RunState
from kladml_tui.messages import RowsWanted
from kladml_tui.run_line import GLYPHS, RunLine, duration, moment, number, progress
from kladml_tui.text import one_line, pad, shorten
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory

_EPOCH_CELLS = 7
_STEP_CELLS = 11
_FIGURE_CELLS = 22


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    title: str
    cells: int
    text: Callable[[RunLine], str]
    keep: int
    """Its worth: on a narrow screen the columns of least worth go first."""
    right: bool = False
    style: str = ""


class RunsTable(RowList):
    """The table. It reads nothing itself: `RowsWanted` asks for the rows that came into sight."""

    def __init__(self, projects: Path, *, id: str | None = None) -> None:
        super().__init__(id=id, head=True)
        self._projects = projects
        self._runs: tuple[str, ...] = ()
        self._lines: dict[str, RunLine] = {}
        self._states: Mapping[str, RunState] = {}
        self._shown: tuple[str, ...] = ()
        self._filter = ""
        self._prefix = ""
        self._asked: set[str] = set()
        self._marks: dict[str, None] = {}
        self._fitted: tuple[int, int, list[tuple[Column, int]]] | None = None

    # What is shown

    @property
    def current(self) -> RunDirectory | None:
        """The run under the cursor."""
        from kladml_core.runs.rundir import RunDirectory  # not needed before the first frame

        return None if self.cursor_key is None else RunDirectory(self._projects / self.cursor_key)

    @property
    def filter(self) -> str:
        """The words that a run must match to be shown."""
        return self._filter

    @filter.setter
    def filter(self, words: str) -> None:
        before = self.cursor_key
        self._filter = words
        self._choose()
        if before not in self.keys:
            self.action_top()

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
        self._asked.difference_update(stale)
        self._choose()
        self._ask()

    def show_lines(self, lines: Iterable[RunLine]) -> None:
        """Shows what was read of some runs."""
        changed = []
        for line in lines:
            self._lines[line.reference] = line
            self._asked.add(line.reference)
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
        missing = tuple(key for key in self.visible_keys() if key not in self._asked)
        if missing:
            self._asked.update(missing)
            self.post_message(RowsWanted(missing))

    def _choose(self) -> None:
        words = self._filter.lower().split()
        if not words:
            self.show_keys(self._runs)
            return
        self.show_keys(
            tuple(
                reference
                for reference in self._runs
                if all(word in f"{reference} {self._words(reference)}".lower() for word in words)
            )
        )

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
        columns = self._columns(width)
        titles = "  " + " ".join(
            column.title.rjust(cells) if column.right else column.title.ljust(cells) for column, cells in columns
        )
        shown, there = self.counts
        if self._filter:
            count = f"{shown:,} of {there:,} match {one_line(self._filter)!r}"
        else:
            count = f"{there:,} runs" if there != 1 else "1 run"
        if self._marks:
            count = f"{len(self._marks)} marked · {count}"
        titles = titles.rstrip()
        gap = width - 1 - cells_of(count)
        # A filter and marks must be seen; how many runs there are, the tree says too.
        if len(titles) + 2 > gap and not (self._filter or self._marks):
            return Content(titles[:width])
        return Content(titles[: gap - 1].ljust(gap) + count)

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
        return ("*", "$accent bold") if key in self._marks else (" ", "")

    def _padded(self, reference: str, width: int) -> str:
        cells = self._columns(width)[0][1]
        # The run's own name is at the end of the reference.
        return pad(shorten(self._short(reference), cells, keep="end"), cells)

    def _short(self, reference: str) -> str:
        return reference.removeprefix(f"{self._prefix}/") if self._prefix else reference

    def _columns(self, width: int) -> list[tuple[Column, int]]:
        """The columns that fit, with their cells."""
        longest = max((len(self._short(key)) for key in self.keys[:200]), default=8)
        if self._fitted is None or self._fitted[:2] != (width, longest):
            self._fitted = (width, longest, _fit(self._all_columns(min(longest, max(9, width // 3))), width))
        return self._fitted[2]

    def _all_columns(self, name_cells: int) -> list[Column]:
        return [
            Column("run", max(8, name_cells), lambda line: self._short(line.reference), 9, style="bold"),
            Column("status", 10, self._status, 8),
            Column("epoch", _EPOCH_CELLS, _epoch, 5, right=True),
            Column("step", _STEP_CELLS, _step, 6, right=True),
            Column("last value", _FIGURE_CELLS, _figure, 7),
            Column("took", 7, lambda line: duration(line.took), 4, right=True, style="$muted"),
            Column("ETA", 7, lambda line: duration(line.left), 3, right=True, style="$accent"),
            Column("started", 16, lambda line: moment(line.status.started or line.status.created), 2, style="$muted"),
            Column("", 12, _why, 1, style="$muted"),
        ]


def _words(states: Mapping[str, RunState], reference: str) -> str:
    state = states.get(reference)
    return state.words if state is not None else ""


def _fit(columns: list[Column], width: int) -> list[tuple[Column, int]]:
    room = width - 2
    chosen = list(columns)
    while sum(column.cells + 1 for column in chosen) > room and len(chosen) > 1:
        chosen.remove(min(chosen, key=lambda column: column.keep))
    spare = room - sum(column.cells + 1 for column in chosen)
    # What is left over goes to the column of words at the end, which says why a run ended.
    return [(column, column.cells + (spare if column.title == "" else 0)) for column in chosen]


def _begun(line: RunLine) -> bool:
    return line.status.attempt is not None and (
        line.status.step > 0 or line.status.status not in ("starting", "queued")
    )


def _epoch(line: RunLine) -> str:
    text = progress(line.status.epoch, line.status.total_epochs) if _begun(line) else ""
    return text if len(text) <= _EPOCH_CELLS else str(line.status.epoch)


def _step(line: RunLine) -> str:
    text = progress(line.status.step, line.status.total_steps) if _begun(line) else ""
    return text if len(text) <= _STEP_CELLS else str(line.status.step)


def _figure(line: RunLine) -> str:
    if line.figure is None:
        return ""
    value = number(line.figure.value)
    text = f"{line.figure.metric} {value} @{line.figure.step}"
    if cells_of(text) <= _FIGURE_CELLS:
        return text
    # Digits are never cut: a part of a number is another number.
    return f"{shorten(line.figure.metric, _FIGURE_CELLS - 1 - len(value))} {value}"


def _why(line: RunLine) -> str:
    if line.status.why and line.status.status != "stopping":
        return line.status.why
    told = line.status.live and line.status.phase in ("preflight", "compiling", "validating", "finishing")
    return line.status.phase or "" if told else ""
