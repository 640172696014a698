"""Measuring ours against a peer's: rounds that alternate, medians, CPU time, one table at the end."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are milliseconds of CPU."""

    what: str
    ours: float
    peer: float | None = None
    limit: float | None = None
    """What `ours` has to stay under."""
    peer_name: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's."""
        return self.ours / self.peer if self.peer else None

    @property
    def passed(self) -> bool:
        """Whether the limit is kept."""
        return self.limit is None or self.ours <= self.limit


def measure(functions: Sequence[Callable[[], object]], rounds: int, *, wall: bool = False) -> list[float]:
    """Return the median of each function's time in milliseconds; the functions take turns in every round.

    Args:
        functions: What to measure; each is called once before, unmeasured.
        rounds: How often each one is measured.
        wall: Time on the clock instead of CPU time of this process, all its threads.
    """
    clock = time.perf_counter if wall else time.process_time
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, taken in zip(functions, times, strict=True):
            start = clock()
            function()
            taken.append((clock() - start) * 1e3)
    return [statistics.median(taken) for taken in times]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    cells = [("", "us", "peer", "ratio", "limit", "")]
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer:.2f} ms {row.peer_name}".rstrip()
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        limit = "" if row.limit is None else f"≤ {row.limit:g} ms"
        verdict = "" if row.limit is None else ("ok" if row.passed else "TOO SLOW")
        cells.append((row.what, f"{row.ours:.2f} ms", peer, ratio, limit, verdict))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    print(f"\n{title}")
    for line in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()
