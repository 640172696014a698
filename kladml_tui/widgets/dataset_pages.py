"""The pages of a dataset as lines of text: overview, columns, classes, versions and the runs that use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from textual.content import Content

from kladml_core.workspace.dataset_state import DatasetState
from kladml_core.workspace.dataset_uses import Use
from kladml_core.workspace.datasets import DatasetRegistration
from kladml_core.workspace.examination import ColumnSummary, Examination
from kladml_core.workspace.fingerprints import short
from kladml_tui.dataset_text import (
    STYLES,
    bars,
    distinct_text,
    missing_text,
    real,
    shape_text,
    share_bar,
    state_text,
    type_text,
)
from kladml_tui.run_line import size
from kladml_tui.text import one_line, pad
from kladml_tui.text import width as cells_of

LABEL = 13
_NAME_CELLS, _TYPE_CELLS = 24, 16
_FIRST_COLUMNS = 12
"""Of the columns, what the overview shows."""
_BARS = 32
_SHARE = 24
_MOST_CLASSES = 500


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a dataset; what is None is still being found out."""

    file: Path
    registration: DatasetRegistration | None = None
    problem: str = ""
    """Why it cannot be read or looked through."""
    state: DatasetState | None = None
    found: Examination | None = None
    uses: tuple[Use, ...] | None = None
    looking: bool = False
    """Whether it is being looked through at this moment."""

    @property
    def is_target(self) -> bool:
        """Whether a function makes the data."""
        return self.registration is not None and self.registration.target is not None


def page(name: str, facts: DatasetFacts, width: int) -> Iterator[Content]:
    """The lines of one page on a screen so many cells wide."""
    if name == "overview":
        yield from _overview(facts, width)
    elif name == "versions":
        yield from _versions(facts)
    elif name == "runs":
        yield from _runs(facts)
    elif facts.found is None:
        yield from _not_yet(facts)
    elif name == "columns":
        yield from _columns(facts.found, width)
    else:
        yield from _classes(facts.found, width)


def _overview(facts: DatasetFacts, width: int) -> Iterator[Content]:
    found = facts.registration
    yield Content.styled(one_line(facts.file.stem), "$primary bold")
    if found is not None and found.description:
        yield Content(one_line(found.description))
    yield Content("")
    if facts.problem:
        yield Content.styled(one_line(facts.problem), "$error")
        yield Content("")
    if found is None:
        return
    state = facts.state
    if state is not None:
        said = Content.styled(one_line(state_text(state)), STYLES[state.state])
        yield Content.assemble((f"{'on disk':<{LABEL}} ", "$muted"), said)
        if state.state == "changed":
            words = "A makes what is there now a new version; a run trains on it as it is, and says so"
            yield Content(f"{'':<{LABEL}} {words}")
    yield from _fact("rows", f"{found.rows:,}" if found.rows is not None else None)
    yield from _fact("columns", found.column_count or None)
    yield from _fact("split", found.split)
    yield from _fact("format", found.format)
    yield from _fact("data", found.path)
    yield from _fact("size", size(found.bytes) if found.bytes is not None else None)
    yield from _fact("target", found.target)
    params = json.dumps(dict(found.params), ensure_ascii=False, default=str) if found.params else None
    yield from _fact("params", params)
    yield from _fact("fingerprint", found.fingerprint)
    yield from _fact("every byte", found.sha256)
    yield from _fact("version", len(found.versions) or None)
    if facts.uses is not None:
        yield from _fact("used by", f"{len(facts.uses)} run{'' if len(facts.uses) == 1 else 's'}")
    yield from _fact("registered", facts.file)
    looked = facts.found
    if looked is None:
        yield Content("")
        yield from _not_yet(facts, again=bool(facts.problem))
        for name, column in found.columns.items():
            shape = shape_text(column.shape) or "one value"
            yield Content.assemble(f"  {one_line(name)}  ", (f"{one_line(column.dtype)}  {shape}", "$muted"))
        return
    if not looked.complete:
        yield from _fact("looked at", f"the first {looked.rows_seen:,} rows; there was no time for more")
    for note in looked.notes:
        yield Content.styled(one_line(note), "$warning")
    yield Content("")
    yield from _columns(replace(looked, columns=looked.columns[:_FIRST_COLUMNS]), width)
    if len(looked.columns) > _FIRST_COLUMNS:
        yield Content.styled(f"… and {len(looked.columns) - _FIRST_COLUMNS} more: 3 shows all", "$muted")


def _not_yet(facts: DatasetFacts, *, again: bool = False) -> Iterator[Content]:
    if facts.looking:
        yield Content.styled("looking through it…", "$muted")
    elif facts.problem:
        if not again:
            yield Content.styled(one_line(facts.problem), "$error")
    elif facts.is_target:
        yield Content.styled("K calls the function in a process of its own and looks at what it gives", "$muted")


def _columns(found: Examination, width: int) -> Iterator[Content]:
    some = found.columns[:200]
    names = min(_NAME_CELLS, max((6, *(cells_of(one.name) for one in some))), max(8, width // 4))
    types = min(_TYPE_CELLS, max((4, *(cells_of(type_text(one)) for one in some))))
    room = width - names - types - 4
    head = f"{'column':{names}}  {'type':{types}}  "
    wide = room >= 60
    heads = f"{'least':>9} {'mean':>9} {'greatest':>9} {'distinct':>8}  histogram" if wide else "histogram"
    yield Content.styled(head + heads, "$muted")
    for column in found.columns:
        name, kind = pad(column.name, names), pad(type_text(column), types)
        numbers = [
            f"{real(column.least):>9}",
            f"{real(column.mean):>9}",
            f"{real(column.greatest):>9}",
            f"{distinct_text(column):>8}",
        ]
        holes = missing_text(column)
        cells = min(_BARS, room - 42 if wide else room - 1)
        drawn = bars(column.bins, cells) if column.bins else _words(column, max(8, room - (42 if wide else 1)))
        parts = [(name, "bold"), (f"  {kind}  ", "")]
        if wide:
            parts.append((" ".join(numbers) + "  ", ""))
        parts.append((drawn, "$primary" if column.bins else "$muted"))
        yield Content.assemble(*parts, (f"  {holes}" if holes and wide else "", "$warning"))
        if not wide:
            texts = [f"{real(column.least)} … {real(column.greatest)}", f"mean {real(column.mean)}"]
            said = [
                *(texts if column.numbers else []),
                f"{distinct_text(column)} distinct",
                *([holes] if holes else []),
            ]
            yield Content.styled("  " + one_line(" · ".join(said)), "$muted")


def _words(column: ColumnSummary, cells: int) -> str:
    """The most frequent texts, as many as fit."""
    said = ", ".join(f"{text} {count:,}" for text, count in column.words[:8])
    return pad(said, cells).rstrip() if said else ""


def _classes(found: Examination, width: int) -> Iterator[Content]:
    if found.classes is None or found.label is None:
        yield Content.styled("no column of it holds classes: what is predicted are numbers, or has no column", "$muted")
        return
    total, most = sum(count for _, count in found.classes), max((count for _, count in found.classes), default=1)
    rarest = min((count for _, count in found.classes), default=0)
    yield Content.assemble(("classes of ", "$muted"), (one_line(found.label), "bold"))
    told = (
        f"{len(found.classes)} classes, {total:,} rows; the largest is {most / max(1, rarest):.1f} times the smallest"
    )
    yield Content.styled(told, "$muted")
    yield Content("")
    names = min(max((cells_of(text) for text, _ in found.classes), default=4), max(8, width // 3))
    for text, count in found.classes[:_MOST_CLASSES]:
        bar = share_bar(count / most, min(_SHARE, max(4, width - names - 24)))
        yield Content.assemble((pad(text, names), "bold"), f"  {count:>9,}  {count / total:>6.1%}  ", (bar, "$primary"))
    if len(found.classes) > _MOST_CLASSES:
        yield Content.styled(f"… and {len(found.classes) - _MOST_CLASSES} more", "$muted")


def _versions(facts: DatasetFacts) -> Iterator[Content]:
    found, state = facts.registration, facts.state
    if found is None or not found.versions:
        yield Content.styled("no version was recorded: the registration was written by hand", "$muted")
        return
    for number in range(len(found.versions), 0, -1):
        version = found.versions[number - 1]
        rows, taken = version.get("rows"), version.get("bytes")
        parts = [
            f"{number:>3}  {version.get('registered', '?')}",
            f"{rows:,} rows" if isinstance(rows, int) else "",
            size(taken) if isinstance(taken, int) else "",
            short(str(version.get("fingerprint") or "")),
        ]
        if facts.uses is not None:
            count = sum(use.version == number for use in facts.uses)
            parts.append(f"{count} run{'' if count == 1 else 's'}" if count else "")
        here = state is not None and state.fingerprint is not None and state.fingerprint == version.get("fingerprint")
        line = Content(one_line("  ".join(part for part in parts if part)))
        yield Content.assemble(line, ("  on the disk", "$success")) if here else line
    if state is not None and state.state == "changed":
        yield Content("")
        yield Content.styled("what is on the disk is none of them; A makes it one", "$warning")


def _runs(facts: DatasetFacts) -> Iterator[Content]:
    if facts.uses is None:
        yield Content.styled("looking at the runs…", "$muted")
        return
    if not facts.uses:
        yield Content.styled("no run was launched on it", "$muted")
    newest = len(facts.registration.versions) if facts.registration is not None else 0
    for use in reversed(facts.uses):
        if use.version is None:
            words, style = "data that is no registered version", "$warning"
        else:
            words, style = f"version {use.version}", "$muted" if use.version == newest else "$warning"
        yield Content.assemble(f"{one_line(use.run)}  ", (words, style))


def _fact(label: str, value: object) -> Iterator[Content]:
    if value not in (None, ""):
        yield Content.assemble((f"{label:<{LABEL}} ", "$muted"), one_line(value))
