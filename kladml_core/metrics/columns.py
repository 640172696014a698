"""Reading the series files of a run: whole records only, and only those that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kladml_core.metrics.names import RECORD_SIZE, check_name, file_name, list_metrics, metric_name

__all__ = [
    "CHUNK",
    "RECORD",
    "RECORD_SIZE",
    "Cut",
    "check_name",
    "chunks",
    "file_name",
    "list_metrics",
    "metric_name",
    "read",
    "visible",
]

RECORD = np.dtype([("step", "<i8"), ("time", "<f8"), ("value", "<f8")])
"""One record of a series file."""
CHUNK = 8 * 1024 * 1024 // RECORD_SIZE
"""Records read at once from a long file (8 MiB)."""

Records = NDArray[np.void]


@dataclass(frozen=True)
class Cut:
    """Where a resumed attempt took over: records before `offset` (bytes) with a step greater than `step` are dead."""

    offset: int
    step: int


def read(path: Path, offset: int = 0, limit: int | None = None) -> tuple[Records, int]:
    """Read the whole records of a series file from a byte offset on.

    Args:
        path: The series file; one that does not exist yet is an empty one.
        offset: Bytes to skip; an offset inside a record counts from that record's beginning.
        limit: Most records to return; None returns all.

    Returns:
        The records (dtype `RECORD`) and the byte offset at which to go on. A torn record at the end is left for later.
    """
    offset -= offset % RECORD_SIZE
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(-1 if limit is None else limit * RECORD_SIZE)
    except FileNotFoundError:
        data = b""
    count = len(data) // RECORD_SIZE
    return np.frombuffer(data, RECORD, count), offset + count * RECORD_SIZE


def chunks(path: Path, offset: int = 0, limit: int = CHUNK) -> Iterator[tuple[Records, int]]:
    """Yield (records, byte offset of the first one) until the end of the file, never more than `limit` at once."""
    while True:
        records, following = read(path, offset, limit)
        if not len(records):
            return
        yield records, following - len(records) * RECORD_SIZE
        offset = following


def visible(records: Records, start_offset: int = 0, cuts: Sequence[Cut] = ()) -> Records:
    """Return the records that count, in the order of the file.

    Gone are: records of a dead branch (see `Cut`), records whose time is not a positive number, and within one attempt
    every value for a step but the last. Attempts that a cut parts are told apart by their offsets; a step that a later
    attempt writes again supersedes the earlier one's, so that each step is returned once.

    Args:
        records: Whole records, dtype `RECORD`.
        start_offset: Byte offset of the first of them in the file.
        cuts: One cut for each resumed attempt, in any order.
    """
    time = records["time"]
    alive: NDArray[np.bool_] = (time > 0) & (time < np.inf)
    step = records["step"]
    for cut in cuts:
        before = _records_before(cut.offset, start_offset, len(records))
        if before:
            alive[:before] &= step[:before] <= cut.step
    kept: Any = records if alive.all() else records[alive]
    return _last_of_each_step(kept)


def _records_before(offset: int, start_offset: int, count: int) -> int:
    """Return how many of `count` records begin before a byte offset."""
    bytes_before = max(0, offset - start_offset)
    return min(count, -(-bytes_before // RECORD_SIZE))


def _last_of_each_step(records: Records) -> Records:
    """Return the records without those whose step comes again later; the order stays."""
    step = records["step"]
    if len(records) < 2 or bool((step[1:] > step[:-1]).all()):
        return records
    order = np.argsort(step, kind="stable")
    ordered = step[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    return records[np.sort(order[is_last])]
