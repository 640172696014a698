"""The columns of the list of runs: the usual ones, or those of one's choice; as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kladml_tui.run_line import RunLine, duration, moment, number, progress
from kladml_tui.text import one_line, shorten
from kladml_tui.text import width as cells_of

if TYPE_CHECKING:
    from kladml_core.workspace.values import Value

EPOCH_CELLS = 7
STEP_CELLS = 11
FIGURE_CELLS = 22
STAR = "★"
_WIDEST = 24
_NARROWEST = 4


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


def usual_columns(name: Column, status: Column) -> list[Column]:
    """What is shown where nobody has chosen columns."""
    return [
        name,
        status,
        Column("epoch", EPOCH_CELLS, _epoch, 5, right=True),
        Column("step", STEP_CELLS, _step, 6, right=True),
        Column("last value", FIGURE_CELLS, _figure, 7),
        Column("took", 7, lambda line: duration(line.took), 4, right=True, style="$muted"),
        Column("ETA", 7, lambda line: duration(line.left), 3, right=True, style="$accent"),
        Column("started", 16, lambda line: moment(line.status.started or line.status.created), 2, style="$muted"),
        Column("", 12, _words, 1, style="$muted"),
    ]


def chosen_columns(name: Column, status: Column, values: Sequence[Value], lines: Sequence[RunLine]) -> list[Column]:
    """The columns of some values, each as wide as what is in sight needs; the first are worth most, parameters least.

    Args:
        lines: the runs in sight, as far as they are known.
    """
    found = [name]
    for place, value in enumerate(values):
        worth = len(values) - place - (len(values) if value.kind == "param" else 0)
        if value.kind == "field" and value.name in ("name", "status"):
            found += [] if value.name == "name" else [Column("status", status.cells, status.text, worth)]
            continue
        text = _text(value)
        widest = max((cells_of(text(line)) for line in lines), default=0)
        # A number is never cut, since a part of it is another number.
        cells = max(
            min(cells_of(value.title), _WIDEST), min(widest, _WIDEST) if _is_text(value) else widest, _NARROWEST
        )
        found.append(Column(one_line(value.title), cells, text, worth, right=not _is_text(value)))
    return found


def fit(columns: list[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that there is room for, with their cells; the first always stays."""
    room = width - 2
    chosen = list(columns)
    while sum(column.cells + 1 for column in chosen) > room and len(chosen) > 1:
        chosen.remove(min(chosen[1:], key=lambda column: column.keep))
    spare = room - sum(column.cells + 1 for column in chosen)
    # What is left over goes to the column of words at the end, which says why a run ended.
    return [(column, column.cells + (spare if column.title == "" else 0)) for column in chosen]


def titles(columns: Sequence[tuple[Column, int]]) -> str:
    """The line of titles."""
    return " ".join(_cut_title(column, cells) for column, cells in columns)


def _cut_title(column: Column, cells: int) -> str:
    # The end of a long name, val/mean_average_precision, tells more than its beginning.
    text = shorten(column.title, cells, keep="end")
    blanks = " " * (cells - cells_of(text))
    return blanks + text if column.right else text + blanks


def _is_text(value: Value) -> bool:
    return value.kind == "field" and value.name in (
        "name", "project", "family", "experiment", "status", "reason", "tags", "note", "star",
    )  # fmt: skip


def _text(value: Value) -> Callable[[RunLine], str]:
    from kladml_tui.run_cells import cell  # not before the first frame

    if value.kind == "field" and value.name == "duration":
        return lambda line: duration(line.took)  # goes on by itself
    return lambda line: "" if line.row is None else one_line(cell(value, line.row))


def _begun(line: RunLine) -> bool:
    return line.status.attempt is not None and (
        line.status.step > 0 or line.status.status not in ("starting", "queued")
    )


def _epoch(line: RunLine) -> str:
    text = progress(line.status.epoch, line.status.total_epochs) if _begun(line) else ""
    return text if len(text) <= EPOCH_CELLS else str(line.status.epoch)


def _step(line: RunLine) -> str:
    text = progress(line.status.step, line.status.total_steps) if _begun(line) else ""
    return text if len(text) <= STEP_CELLS else str(line.status.step)


def _figure(line: RunLine) -> str:
    if line.figure is None:
        return ""
    value = number(line.figure.value)
    text = f"{line.figure.metric} {value} @{line.figure.step}"
    if cells_of(text) <= FIGURE_CELLS:
        return text
    # Digits are never cut: a part of a number is another number.
    return f"{shorten(line.figure.metric, FIGURE_CELLS - 1 - len(value))} {value}"


def _words(line: RunLine) -> str:
    """Why it ended or what it is at, then what a person wrote on it."""
    written = "" if line.row is None else " ".join([*(f"#{tag}" for tag in line.row.tags), line.row.note])
    return one_line(" ".join(filter(None, (_why(line), written.strip()))))


def _why(line: RunLine) -> str:
    if line.status.why and line.status.status != "stopping":
        return line.status.why
    told = line.status.live and line.status.phase in ("preflight", "compiling", "validating", "finishing")
    return line.status.phase or "" if told else ""
