"""In what runs differ: a column a run where they fit, else the runs one under the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from textual.content import Content

from kladml_core.runs.compare import Comparison
from kladml_tui.compare_text import BEST, Table, names, plain_text, tables
from kladml_tui.screens.reading import Reading
from kladml_tui.text import content, one_line, pad, shorten
from kladml_tui.text import width as cells_of

_NARROWEST = 18
"""Cells of a run's column below which the runs stand one under the other."""
_KEY = 30
_GAP = 2


class CompareScreen(Reading):
    """The comparison."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(f"{len(comparison.runs)} runs, where they differ")
        self._comparison = comparison
        self._tables = tables(comparison)
        self._names = names(comparison)

    def draw(self, width: int) -> Sequence[Content]:
        """The tables, one after the other."""
        labels = [label for table in self._tables for label in (table.title, *(row[0] for row in table.rows))]
        key = min(_KEY, width // 3, max(map(cells_of, labels)))
        column = (width - key) // len(self._names) - _GAP
        found: list[Content] = []
        for table in self._tables:
            if found:
                found.append(Content(""))
            if not table.rows:
                found += [_title(table.title), content(table.instead, "$muted")]
            elif column >= _NARROWEST:
                found += _in_columns(table, self._names, key, column)
            else:
                found += _stacked(table, self._names, width)
        for reference, reason in self._comparison.unread:
            found += [Content(""), content(f"The config of {reference} is left out: {reason}", "$warning")]
        return found

    def copied(self) -> str:
        """Cells parted by tabs."""
        return plain_text(self._comparison)


def _title(text: str) -> Content:
    return Content.styled(one_line(text), "$primary bold")


def _in_columns(table: Table, runs: Sequence[str], key: int, column: int) -> Iterator[Content]:
    heads = [pad(shorten(name, column, keep="end"), column + _GAP) for name in runs]
    yield Content.assemble((pad(table.title, key + _GAP), "$primary bold"), ("".join(heads), "bold"))
    for label, *values in table.rows:
        cells = [_folded(label, key), *(_folded(value, column) for value in values)]
        for first, *rest in zip_longest(*cells, fillvalue=""):
            parts: list[tuple[str, str]] = [(pad(first, key + _GAP), "$muted")]
            parts += [(pad(text, column + _GAP), _style(text)) for text in rest]
            yield Content.assemble(*parts)


def _stacked(table: Table, runs: Sequence[str], width: int) -> Iterator[Content]:
    yield _title(table.title)
    most = min(_KEY, max(map(cells_of, runs)))
    indent = most + 2 * _GAP
    for label, *values in table.rows:
        yield content(label, "bold")
        for name, value in zip(runs, values, strict=True):
            # Cut at its beginning: the end of a reference is what tells runs apart.
            first, *rest = _folded(value, width - indent)
            yield Content.assemble(
                (f"  {pad(shorten(name, most, keep='end'), most)}  ", "$muted"), (first, _style(value))
            )
            yield from (Content.styled(" " * indent + line, _style(value)) for line in rest)


def _folded(text: str, cells: int) -> list[str]:
    """The text in lines of so many cells, parted between words where there are any."""
    return [line.plain.rstrip() for line in content(text).wrap(max(2, cells))] or [""]


def _style(value: str) -> str:
    if value.endswith(BEST):
        return "$mark-best"
    return "$muted" if value == "–" else "$foreground"
