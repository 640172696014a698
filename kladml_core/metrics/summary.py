"""What summary.json says of a metric: its last value, its extremes, how much there is of it. Imports no numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Summary = dict[str, Any]


def summarize(records: Any) -> Summary:
    """Return the summary of the records of one metric, dtype `columns.RECORD`, that count (see `columns.visible`).

    The keys are last, last_step, min, min_step, max, max_step, count and non_finite. Extremes are those of the finite
    values, None when there is none; of equal ones the first counts. `last` is what was logged, NaN included.
    """
    return extended(None, zip(records["step"].tolist(), records["value"].tolist(), strict=True))


def extended(summary: Mapping[str, Any] | None, points: Any) -> Summary:
    """Return a summary with more points, pairs of (step, value) in the order of logging, worked in.

    A step that comes twice counts twice: a writer that keeps no curve cannot know better.
    """
    result: Summary = {
        "last": None, "last_step": None, "min": None, "min_step": None, "max": None, "max_step": None,
        "count": 0, "non_finite": 0, **(summary or {}),
    }  # fmt: skip
    for step, value in points:
        result["last"], result["last_step"] = value, step
        result["count"] += 1
        if not math.isfinite(value):
            result["non_finite"] += 1
            continue
        if result["min"] is None or value < result["min"]:
            result["min"], result["min_step"] = value, step
        if result["max"] is None or value > result["max"]:
            result["max"], result["max_step"] = value, step
    return result
