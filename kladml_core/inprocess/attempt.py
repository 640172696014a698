"""An attempt at a run that trains in this process: claimed, recorded and ended as a launched one is."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from kladml_core.backends.run_log import RunLog
from kladml_core.config.diff import MISSING, diff
from kladml_core.config.load import dump, read
from kladml_core.config.secrets import mask
from kladml_core.errors import ConfigError, ExitCode, NothingToResumeError, UnusableError
from kladml_core.inprocess.plan import Plan
from kladml_core.runs import provenance
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.elsewhere import refuse_if_live_elsewhere
from kladml_core.runs.files import write_json, write_text_atomic
from kladml_core.runs.ref import find_run
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.runs.uploads import store_of
from kladml_core.settings import find_workspace, load_settings
from kladml_core.training.failures import describe
from kladml_core.training.signals import StopSignals
from kladml_core.workspace.descriptions import bring_back

if TYPE_CHECKING:
    from kladml_core.training.result import FitResult


@dataclass(frozen=True)
class Attempt:
    """A claimed attempt."""

    run: RunDirectory
    number: int
    created: float
    warnings: tuple[str, ...]
    """What the person should know before it trains."""


def claim(plan: Plan, data: Path, resume: str | None) -> Attempt:
    """Makes a new run, or the next attempt of an earlier one, and records what it is made of.

    Args:
        data: the workspace's data directory.
        resume: the reference of a run, or any unambiguous end of one.

    Raises:
        NothingToResumeError: that run has no checkpoint, or nothing left to train.
        ConfigError: the plan is of another run.
        UnusableError: there is no such run, it is live, or the directory cannot be written.
    """
    config = plan.config
    text = dump(config.model_dump(mode="json"))
    if resume is None:
        run = RunDirectory.create(
            data,
            config.project,
            config.family,
            config.experiment,
            seed=config.seed,
            fingerprints=plan.fingerprints,
        )
        number = run.claim_attempt()
    else:
        run = find_run(data, resume)
        # After the one that was found at its end: whoever resumes or prunes the run meanwhile has claimed that one.
        number = run.claim_attempt(_require_resumable(run, plan, text))
    attempt = Attempt(run, number, time.time(), (*plan.warnings, *bring_back(run.path)))
    directory = run.attempt_dir(attempt.number)
    try:
        write_text_atomic(directory / "config.yaml", text)
        write_text_atomic(run.config, text)
        write_json(directory / "attempt.json", _record(plan, attempt, directory))
        run.console_log.touch()
    except OSError as error:
        raise UnusableError(f"cannot write {directory}: {error.strerror}", hint="free some space") from error
    return attempt


def tell_changes(attempt: Attempt, log: RunLog) -> None:
    """An event that names what a resumed attempt changes in the config, where it changes anything."""
    run = attempt.run
    before = run.attempt_dir(attempt.number - 1) / "config.yaml"
    if attempt.number == 1 or not before.is_file():
        return
    found = diff([read(before).data, read(run.config).data])
    if found:
        changes = {key: [None if value is MISSING else value for value in values] for key, values in found}
        log.event("config_changed", changes=changes)


class Ending:
    """Writes how the attempt ends, once: terminal event, then the last state."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._started = time.monotonic()
        self._once = threading.Lock()
        self._telling = threading.Lock()
        self._over = False

    def warn(self, message: str) -> None:
        """An event for the person, from any thread; after the end, when no event may follow, a warning of Python's."""
        self._tell(message, "warning")

    def say(self, message: str) -> None:
        """As `warn`, of what is no fault."""
        self._tell(message, "info")

    def well(self, result: FitResult) -> None:
        """Training came to an end of its own, or was asked to stop."""
        fields = {"step": result.step, "epoch": result.epoch, "best": result.best, "resumable": result.resumable}
        self._write(f"run_{result.status}", result.status, int(result.exit_code), reason=result.reason, **fields)

    def badly(self, error: BaseException) -> None:
        """Training raised, or was interrupted for good."""
        self._write_traceback(error)
        resumable = _has_checkpoint(self._log.run)
        if isinstance(error, KeyboardInterrupt):
            self._write("run_stopped", "stopped", int(ExitCode.INT), reason="ended at once", resumable=resumable)
            return
        failure = describe(error)
        fields = failure.to_event()
        code = int(fields.pop("exit_code"))
        if code == ExitCode.OUT_OF_MEMORY:
            state = self._log.run.read_state() or {}
            at = {"step": state.get("step"), "epoch": state.get("epoch")}
            self._log.event("out_of_memory", message=failure.message, hint=failure.hint, **at)
        self._write("run_failed", "failed", code, reason=failure.message, resumable=resumable, **fields)

    def at_once(self, code: int) -> None:
        """A second SIGTERM or SIGHUP, or no end within the grace after the first: the process is to go now."""
        # A second Ctrl-C raises KeyboardInterrupt in the main thread instead: it is not to end a whole notebook.
        if code != ExitCode.INT and self._write(
            "run_stopped", "stopped", code, reason="ended at once", resumable=_has_checkpoint(self._log.run)
        ):
            os._exit(code)

    def _tell(self, message: str, level: str) -> None:
        message = mask(message)  # a tracker or a storage may repeat what it was given
        with self._telling:
            if not self._over:
                self._log.event("log", level=level, message=message)
                return
        if level == "warning":
            warnings.warn(f"{self._log.run.reference}: {message}", RuntimeWarning, stacklevel=3)

    def _write(self, kind: str, status: str, code: int, *, reason: str, **fields: Any) -> bool:
        if not self._once.acquire(blocking=False):
            return False
        with self._telling:
            self._over = True
        seconds = time.monotonic() - self._started
        metrics = self._log.last_values()
        self._log.event(kind, exit_code=code, reason=reason, metrics=metrics, seconds=seconds, **fields)
        self._log.status(status, exit_code=code, reason=reason, phase="finishing")
        self._log.close()
        return True

    def _write_traceback(self, error: BaseException) -> None:
        text = mask("".join(traceback.format_exception(error)))
        try:
            with self._log.run.console_log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            pass  # the disk is full; whoever called run() sees the exception itself


class ProgramSignals(StopSignals):
    """As in a worker, but a second Ctrl-C raises KeyboardInterrupt, for the program or notebook is to live on."""

    _handled = 0

    def _came(self, number: int, frame: FrameType | None) -> None:
        # Counted here: `self.number` may have been set already by the thread that hears of the same signal.
        self._handled += 1
        super()._came(number, frame)
        if self._handled > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt


@contextmanager
def listening(grace: float) -> Iterator[StopSignals]:
    """Listens on the main thread alone; afterwards everything is as before, and what is due to others reaches them."""
    signals = ProgramSignals()
    signals.grace = grace
    signals.install()
    try:
        yield signals
    finally:
        signals.restore()
        if signals.number and signals.number != signal.SIGINT:
            os.kill(os.getpid(), signals.number)


def _require_resumable(run: RunDirectory, plan: Plan, text: str) -> int | None:
    """The attempt after which the run may go on; raises as `claim`."""
    from kladml_core.config.schema import RunConfig, changed_identity

    status = read_status(run)
    if status.live:
        raise UnusableError(f"{run.reference} is {status.status} already", hint="watch it, or stop it first")
    if not any(checkpoint.valid for checkpoint in list_checkpoints(run)):
        raise NothingToResumeError(f"{run.reference} has no checkpoint to resume from", hint="start a new run")
    if status.status == "finished" and run.config.read_text(encoding="utf-8") == text:
        raise NothingToResumeError(
            f"{run.reference} has finished; there is nothing left to train", hint="train further with max_epochs"
        )
    before = RunConfig.model_validate(read(run.config).data)
    changes = changed_identity(before, plan.config)
    if changes:
        told = "; ".join(f"{key}: {old!r} → {new!r}" for key, old, new in changes)
        raise ConfigError(
            f"{run.reference} cannot be resumed with another {', '.join(key for key, _, _ in changes)} ({told})",
            hint="start a new run",
        )
    workspace = find_workspace(run.path)
    refuse_if_live_elsewhere(run, lambda: store_of(load_settings(workspace)) if workspace is not None else None)
    return status.attempt


def _record(plan: Plan, attempt: Attempt, directory: Path) -> dict[str, Any]:
    return {
        "v": 1,
        "attempt": attempt.number,
        "created": attempt.created,
        "argv": provenance.mask_argv(sys.argv),
        "command": provenance.mask_argv(sys.orig_argv),
        "in_process": True,
        "overrides": [],
        "warnings": [*plan.warnings, *bring_back(attempt.run.path)],
        "launcher_pid": os.getpid(),
        **provenance.record(directory, plan.code),
        "source": {"file": str(attempt.run.config), "positions": {}},
    }


def _has_checkpoint(run: RunDirectory) -> bool:
    try:
        return any(checkpoint.valid for checkpoint in list_checkpoints(run))
    except (OSError, UnusableError):
        return False
