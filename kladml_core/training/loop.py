"""The training loop. At a boundary the order is fixed: validate, best and early stop, checkpoint, stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import ExitCode, UnusableError
from kladml_core.training import control
from kladml_core.training.batches import TrainingBatches, Window
from kladml_core.training.callbacks import Callbacks
from kladml_core.training.checkpoint_content import Unstorable, encode
from kladml_core.training.early_stopping import EarlyStopping
from kladml_core.training.guard import DeviceGuard, HostGuard
from kladml_core.training.non_finite import NonFinite
from kladml_core.training.optimizers import LearningRate
from kladml_core.training.progress import Progress
from kladml_core.training.ranks import Ranks
from kladml_core.training.recording import Recording
from kladml_core.training.requests import Asked, Requests
from kladml_core.training.run_writer import RunWriter
from kladml_core.training.saving import Saving
from kladml_core.training.schedules import Schedule
from kladml_core.training.step import Step
from kladml_core.training.watchdog import Pulse


@dataclass(frozen=True)
class End:
    """Why the loop ended."""

    status: str
    """finished or stopped."""
    reason: str
    exit_code: ExitCode


@dataclass
class Loop:
    """One attempt at a run, everything set up. `run` may be called once."""

    config: TrainingConfig
    batches: TrainingBatches
    step: Step
    schedule: Schedule
    rate: LearningRate
    guard: HostGuard | DeviceGuard
    validation: Callable[[], dict[str, float] | None] | None
    """Gives `val/…` means, or None when it was broken off; None where there is no validation data."""
    stopping: EarlyStopping
    saving: Saving
    recording: Recording
    requests: Requests
    callbacks: Callbacks
    ranks: Ranks
    writer: RunWriter
    progress: Progress
    pulse: Pulse
    surroundings: dict[str, Any]
    _epoch_from: float = 0.0

    def __post_init__(self) -> None:
        stops = self.config.non_finite == "stop"
        self._non_finite = NonFinite(self.step, self.guard, self.progress, self.recording, self.writer, stops=stops)

    def run(self) -> End:
        """Trains until the run is finished or asked to stop.

        Raises:
            NonFiniteError: a loss or a gradient was not finite; the weights are as before that step.
            CheckpointWriteError: the last checkpoint could not be written.
        """
        end = self._begin()
        while end is None:
            end = self._epoch()
        self.callbacks.fit_end()
        return end

    def _begin(self) -> End | None:
        """What is left to do at the position that was resumed from, and requests from before the first step."""
        asked = self.requests.poll()
        if self.progress.unvalidated:
            return self._boundary(asked, epoch_done=self.progress.micro == 0)
        if self._complete:
            return self._finish({})
        if self.stopping.exhausted:
            return self._finish({}, "early_stopping")
        return self._stop(asked) if asked.stops else None

    def _epoch(self) -> End | None:
        progress, requests, log_every, pulse = self.progress, self.requests, self.config.log_every, self.pulse
        max_steps, every_steps = self.config.max_steps, self.config.checkpoint.every_steps or 0
        self._epoch_from = time.monotonic()
        for window in self.batches.windows(progress.epoch, progress.micro):
            self._update(window)
            pulse.paused = False  # the first step has compiled what is to be compiled
            step = progress.step
            if step % log_every == 0:
                self._log()
            self.writer.progress(epoch=progress.epoch + 1, step=step, phase="training")
            if self.callbacks.each_step:
                self.callbacks.step_end()
            asked = requests.poll()
            if (
                window.last
                or asked.stops
                or asked.checkpoint
                or asked.checkpoint_due
                or step == max_steps
                or (every_steps and step % every_steps == 0)
            ):
                if window.last:
                    progress.epoch += 1
                    progress.micro = 0
                end = self._boundary(asked, epoch_done=window.last)
                if end is not None:
                    return end
        return None

    def _update(self, window: Window) -> None:
        progress = self.progress
        admitted = self.step(window, progress.step)
        if not admitted:
            self._non_finite.left_out()
        progress.step += 1
        progress.micro = window.end
        progress.samples += window.total
        self.recording.seen(window.total)

    def _boundary(self, asked: Asked, *, epoch_done: bool) -> End | None:
        progress = self.progress
        metrics: dict[str, float] = {}
        best = False
        complete = self._complete
        due = progress.unvalidated or complete or (epoch_done and progress.epoch % self.config.validate_every == 0)
        if self.validation is not None and due:
            progress.unvalidated = True
            found = self._validate()
            if found is None:
                return self._stop(self.requests.poll())
            metrics = found
            progress.unvalidated = False
            best = self._judge(metrics)
        if epoch_done:
            seconds = time.monotonic() - self._epoch_from if self._epoch_from else 0.0
            last = {**self.recording.last, **metrics}
            self.writer.event("epoch_finished", step=progress.step, epoch=progress.epoch, seconds=seconds, metrics=last)
            self.callbacks.epoch_end()
        if complete:
            return self._finish(metrics, best=best)
        if metrics and self.stopping.exhausted:
            self.writer.event("early_stopping", step=progress.step, epoch=progress.number, waited=self.stopping.waited)
            return self._finish(metrics, "early_stopping", best=best)
        if asked.stops:
            return self._stop(asked, metrics, best=best)
        wanted = asked.checkpoint or asked.checkpoint_due
        if best or wanted or self.saving.is_due(progress, epoch_done=epoch_done):
            # Who asks for a checkpoint waits for it: the request is taken away when it is carried out.
            self._save(metrics, best=best, wait=asked.checkpoint)
            if asked.checkpoint:
                self.requests.honoured(control.CHECKPOINT)
        return None

    def _validate(self) -> dict[str, float] | None:
        assert self.validation is not None
        started = time.perf_counter()
        self.writer.progress(phase="validating")
        metrics = self.validation()
        self.writer.progress(phase="training")
        self.recording.paused(started)
        if metrics is None:
            return None
        step, epoch = self.progress.step, self.progress.number
        self.recording.validated(metrics, step, epoch)
        self.writer.event("validation", step=step, epoch=epoch, metrics=metrics, seconds=time.perf_counter() - started)
        self.callbacks.validation_end(metrics)
        return metrics

    def _judge(self, metrics: dict[str, float]) -> bool:
        """Whether this validation is the best so far; the schedule is told too."""
        monitor = self.config.early_stopping.monitor
        value = metrics.get(monitor, self.recording.last.get(monitor))
        if value is None:
            return False
        metrics.setdefault(monitor, value)  # by which the checkpoint is ranked
        self.schedule.validated(value)
        verdict = self.stopping.update(value, self.progress.step)
        if verdict.best:
            self.writer.event(
                "new_best", step=self.progress.step, epoch=self.progress.number, metric=monitor, value=value
            )
        return verdict.best

    @property
    def _complete(self) -> bool:
        epochs = self.config.max_epochs
        return bool(self._out_of_steps or (epochs and self.progress.epoch >= epochs))

    @property
    def _out_of_steps(self) -> bool:
        return bool(self.config.max_steps and self.progress.step >= self.config.max_steps)

    def _finish(self, metrics: dict[str, float], reason: str = "", *, best: bool = False) -> End:
        self._log_rest()
        self._save_or_fail(metrics, best=best)
        for kind in (control.CHECKPOINT, control.STOP):
            self.requests.honoured(kind)  # what came too late to make a difference
        by_itself = "max_steps" if self._out_of_steps else "max_epochs"
        return End("finished", reason or by_itself, ExitCode.FINISHED)

    def _stop(self, asked: Asked, metrics: dict[str, float] | None = None, *, best: bool = False) -> End:
        step, epoch = self.progress.step, self.progress.number
        reason = self.requests.reason(asked)
        request = {key: value for key, value in (self.requests.stop_request or {}).items() if key in ("by", "host")}
        self.writer.event("stop_requested", step=step, epoch=epoch, reason=reason, **request)
        self.writer.status("stopping", reason=reason)
        self._save_or_fail(metrics or {}, best=best)
        if asked.checkpoint:
            self.requests.honoured(control.CHECKPOINT)
        self.requests.honoured(control.STOP)
        return End("stopped", reason, asked.exit_code)

    def _save_or_fail(self, metrics: dict[str, float], *, best: bool) -> None:
        failure = self._save(metrics, best=best, wait=True)
        if failure is not None:
            raise failure

    def _save(self, metrics: dict[str, float], *, best: bool, wait: bool) -> Exception | None:
        started = time.perf_counter()
        if isinstance(self.guard, DeviceGuard):
            self._non_finite.look_back()  # a checkpoint must not count steps that the device has left out
        self.writer.progress(phase="saving")
        self.pulse.beats += 1
        failure = self.saving.save(self.progress, self._state(), metrics, best=best, wait=wait)
        self.pulse.beats += 1
        self.requests.saved()
        self.writer.progress(phase="training")
        for name in self.saving.finished():
            self.callbacks.checkpoint(name)
        self.recording.paused(started)
        return failure

    def _state(self) -> dict[str, Any]:
        return {
            "progress": self.progress.state_dict(),
            "schedule": self.schedule.state_dict(),
            "early_stopping": self.stopping.state_dict(),
            "recording": self.ranks.gather(self.recording.state_dict()),
            "callbacks": self.callbacks.state_dict(),
            "surroundings": self.surroundings,
        }

    def require_storable(self) -> None:
        """Finds out before training, not at the first checkpoint, that a callback's state fits into no file.

        Raises:
            UnusableError: some of it is of a type that no checkpoint can hold.
        """
        try:
            encode(self._state(), {}, "state")
        except Unstorable as error:
            raise UnusableError(
                f"a checkpoint cannot hold this run's state: {error}",
                hint="a callback's state_dict may give numbers, texts, lists, dicts and tensors",
            ) from error

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes back what a checkpoint of this loop held."""
        self.progress.load_state_dict(state["progress"])
        self.schedule.load_state_dict(state["schedule"])
        self.stopping.load_state_dict(state["early_stopping"])
        every = state["recording"]
        self.recording.load_state_dict(every[self.ranks.rank] if self.ranks.rank < len(every) else every[0])
        self.callbacks.load_state_dict(state["callbacks"])

    def _log(self) -> None:
        self._non_finite.look_back()
        progress = self.progress
        self.recording.log(
            progress.step,
            rate=self.rate.value,
            norm=self.step.norm,
            waited=self.step.waited,
            weighted=self.step.weighted,
            skipped=progress.skipped,
        )
        self.step.waited = 0.0

    def _log_rest(self) -> None:
        """At the end, the steps since the last log point."""
        if self.ranks.maximum([len(self.recording.means.sums())]) != [0]:
            self._log()
