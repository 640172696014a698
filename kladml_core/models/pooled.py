"""Metrics of a whole split that are no mean of its batches' values: their sums are added up, the formula comes last."""

from __future__ import annotations

from collections.abc import Callable

import torch.distributed as dist
from torch import Tensor


class Pooled:
    """A value for `validation_step` that is computed once, from the sums over all batches.

    The trainer adds up `value * weight` over the batches and divides by the sum of the weights. A macro-F1 or a root
    of a mean square is no mean, so this stands in the value's place: adding two adds their sums, and only the total
    goes through the formula. On a device nothing is read back before that.

    Args:
        sums: what adds up over batches, of any shape, in a type that can count them (float64 where the device has it).
        formula: the metric of the added sums.
    """

    def __init__(self, sums: Tensor, formula: Callable[[Tensor], float], *, weight: float = 1.0) -> None:
        self._sums = sums.detach()
        self._formula = formula
        self._weight = weight

    def __mul__(self, weight: float) -> Pooled:
        return Pooled(self._sums, self._formula, weight=self._weight * weight)

    def __add__(self, other: Pooled) -> Pooled:
        return Pooled(self._sums + other._sums, self._formula, weight=self._weight + other._weight)

    def __float__(self) -> float:
        # The weights' sum is what the trainer divides by.
        return self._formula(self._sums.cpu()) * self._weight


def can_pool() -> bool:
    """Whether one process sees the whole split; several exchange finished numbers, which cannot be pooled."""
    return not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
