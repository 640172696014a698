"""What is said of a dataset in words and bars, the same for the screen and the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kladml_core.workspace.dataset_state import DatasetState
    from kladml_core.workspace.examination import ColumnSummary

BLOCKS = "▁▂▃▄▅▆▇█"
STYLES = {
    "unchanged": "$success",
    "changed": "$warning",
    "gone": "$error",
    "wrong": "$error",
    "unknown": "$warning",
    "target": "$muted",
}
"""The colour of each state."""


def state_text(state: DatasetState) -> str:
    """A state in words: `changed on the disk (1,024 bytes, and 980 when registered)`."""
    words = {
        "unchanged": "unchanged",
        "changed": "changed on the disk since it was registered",
        "gone": "its file is gone",
        "wrong": "cannot be read",
        "unknown": "not known",
        "target": "made by a function",
    }
    return f"{words[state.state]} ({state.how})" if state.state != "target" else state.how


def bars(counts: Sequence[int], cells: int) -> str:
    """A histogram in one line of blocks, at most `cells` wide; a bin that holds anything is never blank."""
    if not counts or cells < 1:
        return ""
    each = math.ceil(len(counts) / cells)
    joined = [sum(counts[start : start + each]) for start in range(0, len(counts), each)]
    most = max(joined)
    return "".join(BLOCKS[math.ceil(8 * count / most) - 1] if count else " " for count in joined)


def share_bar(part: float, cells: int) -> str:
    """A bar for a share between 0 and 1, in eighths of a cell."""
    eighths = max(1, round(part * cells * 8)) if part > 0 else 0
    whole, rest = divmod(eighths, 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def real(value: float | None) -> str:
    """A number in few letters: `0.4105`, `1.2e-07`, `1437`; an empty text where there is none."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.4g}"


def shape_text(shape: Sequence[int]) -> str:
    """`1×8×8`; an empty text for one value a row."""
    return "×".join("…" if size < 0 else str(size) for size in shape)


def type_text(column: ColumnSummary) -> str:
    """Type and shape: `float32 1×8×8`."""
    return f"{column.dtype} {shape_text(column.shape)}".strip()


def distinct_text(column: ColumnSummary) -> str:
    """How many distinct values: `10`, or `> 1000`."""
    return f"> {column.distinct_limit}" if column.distinct is None else str(column.distinct)


def missing_text(column: ColumnSummary) -> str:
    """What is no number in a column of numbers: `3 missing, 1 infinite`; an empty text where nothing is."""
    parts = [(column.missing, "missing"), (column.infinite, "infinite")]
    if column.dtype == "mixed":
        parts.append((column.texts, "not a number"))
    return ", ".join(f"{count:,} {word}" for count, word in parts if count)
