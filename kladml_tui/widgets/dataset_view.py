"""A registered dataset: where it is, what it holds, and its versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textual.content import Content

from kladml_core.errors import KladMLError
from kladml_core.workspace.datasets import DatasetRegistration, read_dataset
from kladml_tui.run_line import size
from kladml_tui.text import one_line
from kladml_tui.widgets.text_lines import TextLines

_LABEL = 13


@dataclass(frozen=True)
class DatasetFacts:
    """A registration as it was read, or what was wrong with it."""

    file: Path
    registration: DatasetRegistration | None = None
    bytes: int | None = None
    """Size of the data's file; None where there is none."""
    problem: str = ""


def read_facts(file: Path, workspace: Path) -> DatasetFacts:
    """Reads a registration and looks for its data. For threads."""
    try:
        registration = read_dataset(file)
    except KladMLError as error:
        return DatasetFacts(file, problem=str(error))
    location = registration.location(workspace)
    if location is None:
        return DatasetFacts(file, registration)
    try:
        return DatasetFacts(file, registration, location.stat().st_size)
    except OSError as error:
        return DatasetFacts(file, registration, problem=f"its data cannot be read: {location}: {error.strerror}")


class DatasetView(TextLines):
    """The facts as a text."""

    def show(self, facts: DatasetFacts) -> None:
        """Shows them."""
        self.show_lines(tuple(_text(facts)), indent=_LABEL + 1)
        self.action_top()


def _text(facts: DatasetFacts) -> Iterator[Content]:
    found = facts.registration
    yield Content.styled(one_line(found.name if found else facts.file.stem), "$primary bold")
    if found is not None and found.description:
        yield Content(one_line(found.description))
    yield Content("")
    if facts.problem:
        yield Content.styled(one_line(facts.problem), "$error")
        yield Content("")
    if found is None:
        return
    yield from _fact("rows", f"{found.rows:,}" if found.rows is not None else None)
    yield from _fact("split", found.split)
    yield from _fact("data", found.path)
    yield from _fact("size", size(facts.bytes) if facts.bytes is not None else None)
    yield from _fact("target", found.target)
    yield from _fact(
        "params", json.dumps(dict(found.params), ensure_ascii=False, default=str) if found.params else None
    )
    yield from _fact("fingerprint", found.fingerprint)
    yield from _fact("registered", facts.file)
    if found.columns:
        yield Content("")
        yield Content.styled("columns", "$primary")
        for name, column in found.columns.items():
            shape = "×".join(map(str, column.shape)) or "one value"
            yield Content.assemble(f"  {one_line(name)}  ", (f"{one_line(column.dtype)}  {shape}", "$muted"))
    if found.versions:
        yield Content("")
        yield Content.styled("versions", "$primary")
        for version in reversed(found.versions):
            facts_of = (version.get("registered"), f"{version.get('rows')} rows", version.get("fingerprint"))
            yield Content(f"  {one_line('  '.join(str(fact) for fact in facts_of))}")


def _fact(label: str, value: object) -> Iterator[Content]:
    if value not in (None, ""):
        yield Content.assemble((f"{label:<{_LABEL}} ", "$muted"), one_line(value))
