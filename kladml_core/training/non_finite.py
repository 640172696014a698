"""What becomes of a run whose loss or gradient was not finite: it ends as before that step, or counts and says so."""

from __future__ import annotations

import math

from kladml_core.errors import NonFiniteError
from kladml_core.training.guard import DeviceGuard, HostGuard
from kladml_core.training.progress import Progress
from kladml_core.training.recording import Recording
from kladml_core.training.run_writer import RunWriter
from kladml_core.training.step import Step


class NonFinite:
    """Tells updates that were left out.

    Args:
        stops: whether one ends the run (non_finite: stop), or is only counted (skip).
    """

    def __init__(
        self,
        step: Step,
        guard: HostGuard | DeviceGuard,
        progress: Progress,
        recording: Recording,
        writer: RunWriter,
        *,
        stops: bool,
    ) -> None:
        self._step = step
        self._guard = guard
        self._progress = progress
        self._recording = recording
        self._writer = writer
        self._stops = stops

    def left_out(self) -> None:
        """The update after `progress.step` has just been left out.

        Raises:
            NonFiniteError: that ends the run.
        """
        if self._stops:
            self._fail(self._progress.step + 1)
        self._progress.skipped += 1
        self._tell(self._progress.step + 1, "the update was skipped")

    def look_back(self) -> None:
        """On a device that decides for itself: what it has left out since the last look.

        Raises:
            NonFiniteError: that ends the run; the counters are those of the step before.
        """
        ago = self._guard.first_bad()
        if ago is not None:
            self._progress.step -= ago + 1
            self._fail(self._progress.step + 1)
        skipped = self._guard.skipped()
        if skipped:
            self._progress.skipped += skipped
            self._tell(self._progress.step, f"{skipped} updates were skipped since the last log point")

    def _tell(self, step: int, message: str) -> None:
        epoch = self._progress.epoch + 1
        self._writer.event("non_finite", step=step, epoch=epoch, metric="train/loss", message=message)

    def _fail(self, step: int) -> None:
        """Ends the run; what was not finite is written, for a NaN must be seen."""
        values = self._recording.means.sums()
        loss = values["loss"][0] / values["loss"][1] if values.get("loss", (0, 0))[1] else float("nan")
        norm = float(self._step.norm)
        bad, value = ("train/loss", loss) if not math.isfinite(loss) else ("train/gradient_norm", norm)
        self._recording.write({"train/loss": loss, "train/gradient_norm": norm}, step)
        self._writer.event("non_finite", step=step, epoch=self._progress.epoch + 1, metric=bad)
        raise NonFiniteError(
            f"{bad} became {value} at step {step}",
            hint="the weights are as before that step; lower training.learning_rate or set training.gradient_clipping",
        )
