"""`python -m kladml_core.training.worker RUN_DIR ATTEMPT`: the process that trains one attempt of a run.

It starts in the workspace, writes into the run directory and ends with an exit code; whatever happens, the run does
not stay "running". Nothing heavy is imported here at module level: the signal handlers come first.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kladml_core.backends.run_log import RunLog
from kladml_core.errors import ExitCode, HangError, UnusableError
from kladml_core.runs import memory_kills
from kladml_core.runs.process_tree import register
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training import control, launcher_watch, rank_failures
from kladml_core.training.console import outlast_a_full_disk
from kladml_core.training.failures import Failure, describe, print_traceback
from kladml_core.training.run_writer import NoWriter, RunWriter
from kladml_core.training.signals import StopSignals

if TYPE_CHECKING:
    from kladml_core.training.result import FitResult

_LAST_WORDS_SECONDS = 3.0


def main(argv: list[str]) -> int:
    """Trains the attempt `argv[2]`, by default the newest, of the run in `argv[1]`; returns the exit code."""
    if len(argv) not in (2, 3) or (len(argv) == 3 and not argv[2].isdigit()):
        print(f"usage: python -m {__spec__.name} RUN_DIR [ATTEMPT]", file=sys.stderr)
        return ExitCode.BAD_TEXT
    outlast_a_full_disk()
    signals = StopSignals()
    signals.install()
    workspace = str(Path.cwd())
    if workspace not in (str(Path(entry or ".").resolve()) for entry in sys.path[:1]):
        sys.path.insert(0, workspace)
    run = RunDirectory(Path(argv[1]).resolve())
    attempt = int(argv[2]) if len(argv) == 3 else run.latest_attempt()
    if attempt is None:
        print(f"{run.path} is not a run: it has no attempt", file=sys.stderr)
        return ExitCode.UNUSABLE
    rank = int(os.environ.get("RANK", "0"))
    faulthandler.enable()  # a crash of native code leaves its name in console.log
    register(run, attempt, f"rank-{rank}")
    log = RunLog(run, attempt) if rank == 0 else None
    started = time.monotonic()
    ending = _Ending(log, started, rank, run.attempt_dir(attempt))
    signals.on_second(ending.at_once)
    launcher_watch.watch(run, attempt, signals, ending.at_once)
    try:
        if log is not None:
            control.remove_stale(run.control, attempt)
            for warning in run.warnings(attempt):
                log.event("log", level="warning", message=warning)
        result = _train(run, attempt, log if log is not None else NoWriter(), signals, ending)
    except BaseException as error:  # a person's code may raise anything, SystemExit too, and the run must end for it
        code = ending.failed(error, run)
        if "RANK" in os.environ:
            _leave(code)  # other ranks may wait in a collective; Python's own exit would wait for them
        return code
    code = ending.ended(result)
    if rank and code:
        launcher_watch.let_rank_0_end_first(run, attempt)
    return code


def _train(run: RunDirectory, attempt: int, writer: RunWriter, signals: StopSignals, ending: _Ending) -> FitResult:
    from kladml_core.training.attempt import train_attempt  # torch and accelerate: seconds, during which signals count

    return train_attempt(run, attempt, writer, signals, on_hang=lambda error: ending.hung(error, run))


class _Ending:
    """Writes the terminal event and the last state, once; on another rank than 0, why it ends."""

    def __init__(self, log: RunLog | None, started: float, rank: int, folder: Path) -> None:
        self._log = log
        self._started = started
        self._rank = rank
        self._folder = folder
        self._kills = memory_kills.counters()
        self._once = threading.Lock()
        self._written = threading.Event()

    def ended(self, result: FitResult) -> int:
        """Training came to an end of its own."""
        code = int(result.exit_code)
        at = {"step": result.step, "epoch": result.epoch}
        fields: dict[str, Any] = {**at, "best": result.best, "resumable": result.resumable}
        self._write(f"run_{result.status}", result.status, code, reason=result.reason, **fields)
        return code

    def failed(self, error: BaseException, run: RunDirectory) -> int:
        """Training raised."""
        print_traceback(error)
        failure = describe(error)
        if self._log is None and not rank_failures.is_echo(error):
            rank_failures.leave(self._folder, self._rank, failure)
        elif self._log is not None and rank_failures.is_echo(error):
            found = rank_failures.find(self._folder, rank_failures.WAIT_SECONDS)
            failure = found or self._if_for_memory(rank_failures.of_the_gone(run, self._log.attempt, failure))
        elif rank_failures.is_killed_loader(error):
            failure = self._if_for_memory(failure)
        return self._fail(failure, run)

    def hung(self, error: HangError, run: RunDirectory) -> NoReturn:
        """Nothing moves any more: this ends the process from the watchdog's thread."""
        threading.Timer(_LAST_WORDS_SECONDS, os._exit, (int(error.exit_code),)).start()
        failure = describe(error)
        if self._log is None:
            rank_failures.leave(self._folder, self._rank, failure)
        _leave(self._fail(failure, run))

    def _if_for_memory(self, failure: Failure) -> Failure:
        """Another process was killed: for lack of memory, where the kernel has counted that."""
        struck = memory_kills.struck_since(self._kills)
        if not struck:
            return failure
        message = f"{failure.message} ({struck} since this attempt began)"
        return replace(failure, message=message, exit_code=ExitCode.OUT_OF_MEMORY)

    def _fail(self, failure: Failure, run: RunDirectory) -> int:
        fields = failure.to_event()
        code = fields.pop("exit_code")
        if self._log is not None and code == ExitCode.OUT_OF_MEMORY:
            state = self._log.run.read_state() or {}
            at = {"step": state.get("step"), "epoch": state.get("epoch")}
            self._log.event("out_of_memory", message=failure.message, hint=failure.hint, **at)
        _explain(failure)
        self._write("run_failed", "failed", code, reason=failure.message, resumable=_has_checkpoint(run), **fields)
        return int(code)

    def at_once(self, code: int) -> None:
        """A second signal, or the grace after the first one is over: no more steps, no checkpoint."""
        threading.Timer(_LAST_WORDS_SECONDS, os._exit, (code,)).start()
        found = rank_failures.find(self._folder) if self._log is not None else None
        if found is not None and self._log is not None:
            # The signal was the launcher's, which ends all ranks when one has failed.
            _leave(self._fail(found, self._log.run))
        resumable = self._log is not None and _has_checkpoint(self._log.run)
        self._write("run_stopped", "stopped", code, reason="ended at once", resumable=resumable)
        _leave(code)

    def _write(self, kind: str, status: str, code: int, *, reason: str, **fields: Any) -> None:
        if self._log is None:
            return
        if not self._once.acquire(blocking=False):
            # Another thread is writing the end: leaving now would cut it off between the event and the state.
            self._written.wait(_LAST_WORDS_SECONDS)
            return
        seconds = time.monotonic() - self._started
        metrics = self._log.last_values()
        self._log.event(kind, exit_code=code, reason=reason, metrics=metrics, seconds=seconds, **fields)
        self._log.status(status, exit_code=code, reason=reason, phase="finishing")
        self._log.close()
        _tidy(self._log.run)
        self._written.set()


def _explain(failure: Failure) -> None:
    """The same words as the event, below the traceback in console.log."""
    place = ":".join(str(part) for part in (failure.file, failure.line, failure.column) if part is not None)
    print(f"{place}: {failure.message}" if place else failure.message, file=sys.stderr)
    if failure.hint:
        print(failure.hint, file=sys.stderr)


def _tidy(run: RunDirectory) -> None:
    """Removes what earlier attempts that were killed have left half-written of the files that only a worker writes."""
    for file in (run.state_json, run.summary):
        for path in run.path.glob(f".{file.name}.*.tmp"):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # it is in nobody's way


def _has_checkpoint(run: RunDirectory) -> bool:
    from kladml_core.runs.checkpoint_list import list_checkpoints

    try:
        return any(checkpoint.valid for checkpoint in list_checkpoints(run))
    except (OSError, UnusableError):
        return False


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
