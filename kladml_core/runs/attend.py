"""Follows one run to its end without a screen: the app's follower and queue, with a console in the screens' place."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kladml_core.backends.queue_publisher import QueuePublisher, Subscription
from kladml_core.errors import ExitCode, KladMLError, UnusableError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.consoles import Console
from kladml_core.runs.events import TERMINAL_KINDS
from kladml_core.runs.follow import RunFollower, read_console
from kladml_core.runs.follow_signals import Signals
from kladml_core.runs.ladder import StopLadder, climb
from kladml_core.runs.patience import Patience
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import LIVE, RunStatus, read_status
from kladml_core.runs.stop import request_stop
from kladml_core.tracking.overview import WAIT_SECONDS, sentence, wait_until_sent
from kladml_core.tracking.state import data_of, uid_of

Checked = TypeVar("Checked")

TICK_SECONDS = 0.1
AT_ONCE = Patience(ask=0.0, term=0.3)
"""A worker takes its first signal as a request and ends at once on the second; then it has a little time."""

ORPHAN_SECONDS = 10.0
"""How long a run that is no longer live may owe its terminal event before the follower stops waiting for it."""

_QUIET_SECONDS = 2.0
"""How long the tracking of an ended run is waited for without a word."""

_TAIL_BYTES = 4096
_TAIL_LINES = 15
_ENDS = frozenset({*TERMINAL_KINDS, "run_lost"})


def start_and_follow(
    check: Callable[[], Checked],
    start: Callable[[Checked], RunDirectory],
    open_console: Callable[[], Console],
    *,
    detach: bool,
) -> int:
    """Starts a run and follows it to its end.

    Args:
        check: finds out whether the run can be started, writing nothing; a signal in the meantime starts nothing.
        start: launches or resumes what `check` returned.
        open_console: called when there is something to show.
        detach: return 0 once the worker says `running`.

    Returns:
        the run's exit code; 129 when a hang-up ended the follower and the run goes on.

    Raises:
        KladMLError: the run could not be started.
        BrokenPipeError: nobody reads stdout any more; the run goes on.
    """
    with Signals() as signals:
        checked = check()
        if signals.stops or signals.hangup:
            raise _Interrupted(signals)
        run = start(checked)
        return _Following(run, signals, open_console(), owner=True, detach=detach).follow()


def watch(run: RunDirectory, open_console: Callable[[], Console]) -> int:
    """Follows a run that somebody else started; a signal ends the watching, never the run.

    Returns:
        the run's exit code, or 128 + N when signal N ended the watching.
    """
    with Signals() as signals:
        return _Following(run, signals, open_console(), owner=False, detach=False).follow()


class _Interrupted(KladMLError):
    """A signal came before anything was started."""

    def __init__(self, signals: Signals) -> None:
        super().__init__("stopped by a signal before anything was started")
        self.exit_code = ExitCode(signals.exit_code)


class _Following:
    """One run being followed by one console."""

    def __init__(self, run: RunDirectory, signals: Signals, console: Console, *, owner: bool, detach: bool) -> None:
        self._run = run
        self._signals = signals
        self._console = console
        self._owner = owner
        self._detach = detach
        # A launch returns when state.json names its attempt; a claimed attempt that never started is not followed.
        self._attempt = read_status(run).attempt or 1
        recorded = (run.read_attempt(self._attempt) or {}).get("created")
        # With an earlier attempt behind it, only what this one writes is news.
        self._since = float(recorded) if self._attempt > 1 and isinstance(recorded, int | float) and owner else 0.0
        self._answered = 0
        self._ladder: StopLadder | None = None
        self._over_since: float | None = None
        if owner:
            for warning in run.warnings(self._attempt):
                console.warn(warning)

    def follow(self) -> int:
        """Follows to the end, and puts the terminal and the follower in order however it ends."""
        publisher = QueuePublisher()
        mailbox = publisher.subscribe(runs=[self._run.reference])
        follower = RunFollower(publisher, curves=False)
        follower.start()
        try:
            follower.follow(self._run)
            return self._loop(mailbox, follower)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return int(ExitCode.HUP)  # a terminal that has gone refuses a line before its SIGHUP comes
        finally:
            follower.close()
            mailbox.close()
            with suppress(OSError):  # the terminal or the pipe may be gone, and that is what ended the following
                self._console.end(None)

    def _loop(self, mailbox: Subscription, follower: RunFollower) -> int:
        while True:
            mailbox.wait(TICK_SECONDS)
            for channel, message in mailbox.drain():
                if self._is_terminal(channel, message):
                    return self._finish(message)
                if self._is_news(channel, message):
                    self._console.message(channel, message)
            snapshot = follower.snapshot(self._run.reference)
            status = snapshot.status if snapshot is not None else None
            if self._run.reference not in follower.following():
                raise UnusableError(f"cannot follow {'; '.join(follower.failures)}", hint="the run itself is untouched")
            self._console.tick(status)
            if self._detach and status is not None and status.status in ("running", "stopping"):
                return self._leave(status)
            if self._signals.hangup:
                return self._signals.exit_code
            if self._signals.stops > self._answered and not self._owner:
                self._console.say(f"no longer watching; the run goes on. Stop it with: kladml-tui stop {self._name()}")
                return self._signals.exit_code
            self._answer_signals()
            if status is not None and status.status == "damaged":
                raise UnusableError(f"{self._run.reference} is damaged: {status.damaged}")
            if status is not None and self._orphaned(status):
                return self._finish(self._synthetic_end(status))

    def _is_terminal(self, channel: str, message: dict[str, Any]) -> bool:
        return (
            channel == "events"
            and message.get("kind") in _ENDS
            and message.get("attempt", self._attempt) >= self._attempt
        )

    def _is_news(self, channel: str, message: dict[str, Any]) -> bool:
        if channel == "events":
            return self._since == 0.0 or message.get("attempt", self._attempt) >= self._attempt
        return channel == "status" or message.get("time", self._since) >= self._since

    def _finish(self, terminal: dict[str, Any]) -> int:
        self._console.end(terminal)
        code = terminal.get("exit_code")
        code = code if isinstance(code, int) else (ExitCode.LOST if terminal["kind"] == "run_lost" else ExitCode.FAILED)
        if code in (ExitCode.FAILED, ExitCode.LOST):
            self._say_last_output()  # of every other end its own message says all
        if self._ladder is not None:
            for _ in climb(self._ladder):
                pass  # what the run has started goes with it
        if self._owner:
            self._await_tracking()
        return int(code)

    def _await_tracking(self) -> None:
        """Gives the tracking of the run some time to come to its end; a signal skips that."""
        uid = uid_of(self._run)
        if uid is None:
            return
        data, answered = data_of(self._run), self._signals.stops

        def skip() -> bool:
            return self._signals.stops > answered or self._signals.hangup

        left = wait_until_sent(data, [uid], _QUIET_SECONDS, skip)
        if not left:
            return
        if not skip():
            self._console.say(f"tracking: {sentence(left[0])}; Ctrl-C leaves that to the background")
            left = wait_until_sent(data, [uid], WAIT_SECONDS - _QUIET_SECONDS, skip)
        if left:
            self._console.say(f"tracking goes on in the background: {sentence(left[0])}; see kladml-tui sync")

    def _leave(self, status: RunStatus) -> int:
        self._console.detached(self._run.reference, status.status, self._run.path)
        return int(ExitCode.FINISHED)

    def _answer_signals(self) -> None:
        """The first signal asks the run to stop, the second ends it and at last kills what is left of it."""
        if self._signals.stops > self._answered:
            asked_before = self._answered > 0
            self._answered = self._signals.stops
            if not asked_before and self._answered == 1:
                self._ask_to_stop()
            elif self._ladder is None:
                kept = any(checkpoint.valid for checkpoint in list_checkpoints(self._run))
                then = "it can be resumed from its last checkpoint" if kept else "it has no checkpoint yet"
                self._console.say(f"ending the run now; {then}")
                self._end_now()
        if self._ladder is not None and self._ladder.look().outcome == "asked":
            self._console.say("it runs where no signal reaches from here, and is asked to stop instead")
            self._ladder = None

    def _ask_to_stop(self) -> None:
        try:
            request_stop(self._run, by=f"{self._signals.last.name} to the command that follows it")
        except UnusableError as error:
            self._console.say(str(error))
        else:
            self._console.say("asked the run to stop at its next step; once more ends it now")

    def _end_now(self) -> None:
        try:
            self._ladder = StopLadder(
                self._run,
                by="the command that follows it",
                now=True,
                patience=AT_ONCE,
                signal_number=self._signals.last,
            )
        except UnusableError:
            pass  # it is gone already, which is what was wanted; the follower will hear how it ended

    def _orphaned(self, status: RunStatus) -> bool:
        """Whether the run has ended without its follower hearing of it, e.g. because its directory was removed."""
        if status.status in LIVE:
            self._over_since = None
            return False
        self._over_since = self._over_since or time.monotonic()
        return time.monotonic() - self._over_since > ORPHAN_SECONDS

    def _synthetic_end(self, status: RunStatus) -> dict[str, Any]:
        code = status.exit_code if status.exit_code is not None else int(ExitCode.LOST)
        reason = status.damaged or status.reason or f"the run is {status.status}"
        kind = f"run_{status.status}" if status.status in TERMINAL_KINDS.values() else "run_lost"
        end = {"kind": kind, "run": self._run.reference, "attempt": self._attempt, "time": time.time()}
        return {"v": 1, **end, "exit_code": code, "reason": reason}

    def _say_last_output(self) -> None:
        """The end of console.log, where a traceback of the user's code stands."""
        try:
            size = self._run.console_log.stat().st_size
        except OSError:
            return
        data, _ = read_console(self._run, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
        lines = data.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
        if any(line.strip() for line in lines):
            self._console.last_output(lines)

    def _name(self) -> str:
        from shlex import quote

        return quote(self._run.reference)
