"""`training.profile`: records where the time of some early steps goes, as a trace that a browser shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile, schedule

from kladml_core.training.callbacks import Callback, Context

WARM_UP = 5
"""Steps before the recorded ones: the first steps of a run allocate, compile and tune, which the others do not."""
TRACE = "profile.json.gz"


class Profile(Callback):
    """Records `steps` steps of rank 0, then stops and writes `artifacts/profile.json.gz`.

    Args:
        artifacts: the run's artifacts; made when missing.
        steps: how many optimizer steps are recorded. Recording slows them, and only them, down.
    """

    def __init__(self, artifacts: Path, steps: int) -> None:
        self._artifacts = artifacts
        self._steps = steps
        self._left = WARM_UP + steps
        self._profile: Any = None

    def on_fit_start(self, context: Context) -> None:
        """Begins, on rank 0."""
        if not context.is_main:
            return
        device = next(context.module.parameters()).device.type
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        plan = schedule(wait=WARM_UP - 1, warmup=1, active=self._steps, repeat=1)
        self._profile = profile(activities=activities, schedule=plan)
        self._profile.start()

    def on_step_end(self, context: Context) -> None:
        """Counts the steps; after the last one the trace is written."""
        if self._profile is None:
            return
        self._profile.step()
        self._left -= 1
        if not self._left:
            self._finish(context)

    def on_fit_end(self, context: Context) -> None:
        """A run that was shorter is recorded as far as it went."""
        if self._profile is not None:
            self._finish(context)

    def _finish(self, context: Context) -> None:
        recorded, self._profile = self._profile, None
        recorded.stop()
        path = self._artifacts / TRACE
        try:
            self._artifacts.mkdir(parents=True, exist_ok=True)
            recorded.export_chrome_trace(str(path))
            message = f"the profile of {self._steps} steps is in {path.name}; open it in ui.perfetto.dev"
            context.writer.event("log", level="info", message=message)
        except (OSError, RuntimeError, AssertionError) as error:
            # A profile is worth no run: a full disk, or a run that ended before the first recorded step.
            context.writer.event("log", level="warning", message=f"the profile cannot be written: {error}")
