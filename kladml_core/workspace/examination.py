"""What looking through a dataset found: its columns summarised, its first rows, its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kladml_core.runs.files import number


@dataclass(frozen=True)
class ColumnSummary:
    """One column, or one array with all its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Of one row; -1 where lists have any length."""
    numbers: int
    """Finite numbers."""
    texts: int
    """Values that are no numbers."""
    missing: int
    """Empty cells, nulls and NaN."""
    infinite: int
    least: float | None
    mean: float | None
    greatest: float | None
    deviation: float | None
    """Of the finite numbers, over all of them."""
    distinct: int | None
    """Distinct values, or None where there are more than `distinct_limit`."""
    distinct_limit: int
    bins: tuple[int, ...]
    """Counts of the histogram's bins, all of one width."""
    low: float
    high: float
    longest: int
    """Characters of the longest text."""
    words: tuple[tuple[str, int], ...]
    """The most frequent values with their counts, where they were counted."""


@dataclass(frozen=True)
class Examination:
    """A dataset as it was looked through."""

    rows: int | None
    """All rows; None where that is not known without reading on."""
    rows_seen: int
    complete: bool
    """False where time ran out: everything here is of the first `rows_seen` rows."""
    columns: tuple[ColumnSummary, ...]
    preview: tuple[tuple[str, ...], ...]
    """The first rows, each cell as text that was cut."""
    label: str | None
    """The column of classes: the one that training takes for y, where it holds some."""
    classes: tuple[tuple[str, int], ...] | None
    """Its values with their counts; None where there are more than are counted, or no column is a label."""
    notes: tuple[str, ...]
    """What is wrong with some of the rows, or left out."""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Examination:
        """From what the examining process, or the cache, says.

        Raises:
            KeyError, TypeError, ValueError: it is of another version, or damaged.
        """
        classes = data["classes"]
        return cls(
            rows=None if data["rows"] is None else int(data["rows"]),
            rows_seen=int(data["rows_seen"]),
            complete=bool(data["complete"]),
            columns=tuple(_column(one) for one in data["columns"]),
            preview=tuple(tuple(map(str, row)) for row in data["preview"]),
            label=data["label"],
            classes=None if classes is None else tuple((str(text), int(count)) for text, count in classes),
            notes=tuple(map(str, data["notes"])),
        )

    def to_json(self) -> dict[str, Any]:
        """As commands print it and the cache keeps it."""
        return asdict(self)


def _column(data: Mapping[str, Any]) -> ColumnSummary:
    def real(key: str) -> float | None:
        return None if data[key] is None else number(data[key])

    return ColumnSummary(
        name=str(data["name"]),
        dtype=str(data["dtype"]),
        shape=tuple(map(int, data["shape"])),
        numbers=int(data["numbers"]),
        texts=int(data["texts"]),
        missing=int(data["missing"]),
        infinite=int(data["infinite"]),
        least=real("least"),
        mean=real("mean"),
        greatest=real("greatest"),
        deviation=real("deviation"),
        distinct=None if data["distinct"] is None else int(data["distinct"]),
        distinct_limit=int(data["distinct_limit"]),
        bins=tuple(map(int, data["bins"])),
        low=number(data["low"]),
        high=number(data["high"]),
        longest=int(data["longest"]),
        words=tuple((str(text), int(count)) for text, count in data["words"]),
    )
