"""Which validation was the best so far, and whether it is time to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """What one validation means."""

    best: bool
    """The best value of the run so far."""
    stop: bool
    """`patience` validations in a row brought no gain."""


class EarlyStopping:
    """Watches one metric.

    The best value is any strictly better one; a gain, which resets the patience, is one better than the last gain
    by more than `min_delta`. NaN is neither.

    Args:
        enabled: False only tells what is best and never stops.
        mode: `min` or `max`.
        patience: validations without a gain that are waited for.
        min_delta: how much better a gain must be, in the metric's unit.
    """

    def __init__(self, *, enabled: bool = True, mode: str = "min", patience: int = 5, min_delta: float = 0.0) -> None:
        self._enabled = enabled
        self._sign = 1.0 if mode == "min" else -1.0
        self._patience = patience
        self._min_delta = min_delta
        self.best: float | None = None
        self.best_step: int | None = None
        self._gain: float | None = None
        self.waited = 0
        """Validations since the last gain."""

    def update(self, value: float, step: int) -> Verdict:
        """Takes the value of a validation at a step."""
        signed = self._sign * value
        is_best = not math.isnan(value) and (self.best is None or signed < self._sign * self.best)
        if is_best:
            self.best, self.best_step = value, step
        if not math.isnan(value) and (self._gain is None or signed < self._sign * self._gain - self._min_delta):
            self._gain = value
            self.waited = 0
        else:
            self.waited += 1
        return Verdict(is_best, self.exhausted)

    @property
    def exhausted(self) -> bool:
        """Whether the patience is spent."""
        return self._enabled and self.waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers; plain JSON values."""
        return {"best": self.best, "best_step": self.best_step, "gain": self._gain, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave; patience and the like stay as they are configured now."""
        if not state:
            return
        self.best = None if state["best"] is None else float(state["best"])
        self.best_step = state["best_step"]
        self._gain = None if state["gain"] is None else float(state["gain"])
        self.waited = int(state["waited"])
