"""What a validation adds up instead of averaging: counts, from which a metric of the whole split is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sum:
    """A value of `validation_step` that is added up over all batches and all processes, then given to
    `validation_metrics`.

    A macro-F1 is no mean of the batches' F1, but the counts of the whole split are the sum of the batches' counts.

    Attributes:
        value: a tensor of any shape, the same in every batch; or a number. Whole numbers are added up exactly, in
            int64, and others in float64 where the device has that.
    """

    value: Any
