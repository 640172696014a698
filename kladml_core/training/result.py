"""How an attempt at a run ended, as whoever started it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kladml_core.errors import ExitCode
from kladml_core.training.loop import End, Loop


@dataclass(frozen=True)
class FitResult:
    """How an attempt ended."""

    status: str
    """finished or stopped."""
    reason: str
    """max_epochs, max_steps, early_stopping, max_time, stop requested, or the signal's name."""
    exit_code: ExitCode
    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The last value of each metric."""
    best: Mapping[str, Any] | None = None
    """metric, value, step and checkpoint of the best validation."""
    resumable: bool = False


def fit_result(loop: Loop, end: End) -> FitResult:
    """What is told of a loop that came to an end of its own."""
    best = None
    if loop.stopping.best is not None:
        ranked = loop.saving.ranked() if loop.ranks.is_main else []
        best = {
            "metric": loop.config.early_stopping.monitor,
            "value": loop.stopping.best,
            "step": loop.stopping.best_step,
            "checkpoint": ranked[0] if ranked else None,
        }
    return FitResult(
        status=end.status,
        reason=end.reason,
        exit_code=end.exit_code,
        step=loop.progress.step,
        epoch=loop.progress.number,
        metrics=dict(loop.recording.last),
        best=best,
        resumable=end.status == "stopped" and loop.saving.last is not None,
    )
