"""What a run is doing, told truly: from its state.json, whether its process lives, and what an observer found."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kladml_core.runs.causes import cause_of_death
from kladml_core.runs.event_text import seconds_text
from kladml_core.runs.events import TERMINAL_KINDS, last_terminal_event
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import host_name, is_alive
from kladml_core.runs.queue_items import is_queued
from kladml_core.runs.ref import RUN_NAME
from kladml_core.runs.rundir import RunDirectory

LIVE = frozenset({"queued", "starting", "running", "stopping"})
"""Statuses of a run whose worker lives or is still to come."""

STATUSES = ("queued", "starting", "running", "stopping", "finished", "failed", "stopped", "lost", "damaged")

GRACE_SECONDS = 60.0
"""How long a run directory may lack run.json or state.json before it counts as damaged."""

STALL_SECONDS = 120.0
STALL_STEPS = 20
SILENT_SECONDS = 30.0
"""Age of a heartbeat that is worth a word where the process itself cannot be looked at."""


@dataclass(frozen=True)
class RunStatus:
    """A run's state as it can be shown. Times are unix seconds; None where unknown."""

    status: str
    stalled: bool = False
    attempt: int | None = None
    pid: int | None = None
    host: str | None = None
    phase: str | None = None
    epoch: int = 0
    step: int = 0
    total_steps: int | None = None
    total_epochs: int | None = None
    heartbeat: float | None = None
    progress_at: float | None = None
    exit_code: int | None = None
    reason: str | None = None
    last_checkpoint: str | None = None
    """Name of the newest checkpoint that the worker has told of; it may have been removed since."""
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    earlier_seconds: float | None = 0.0
    """What the attempts before this one took; None where that was not recorded."""
    silence: float | None = None
    """Whole seconds since the last heartbeat of a worker that cannot be looked at from here, once they are many."""
    damaged: str | None = None
    """What is wrong with the directory, when status is `damaged`."""

    @property
    def live(self) -> bool:
        """Whether more is to come of this attempt."""
        return self.status in LIVE

    @property
    def word(self) -> str:
        """The status as it is shown: `stalled` for a run that lives and does not get on, `silent` for one of another
        machine that has not been heard of for a while, and of which nobody here can say more."""
        if self.silence is not None:
            return "silent"
        return "stalled" if self.stalled and self.status == "running" else self.status

    @property
    def standstill(self) -> str | None:
        """What is the matter with a run that lives, or may live, and of which nothing comes."""
        if self.silence is not None:
            return self.reason
        if self.word != "stalled" or self.progress_at is None:
            return None
        return f"no progress for {seconds_text(int(time.time() - self.progress_at))}"

    @property
    def why(self) -> str | None:
        """The reason that a person needs to know: of an end that was not the plan, of damage, of a standstill."""
        if self.live:
            return self.standstill or (self.reason if self.status == "stopping" else None)
        return None if self.status == "finished" else self.damaged or self.reason

    @property
    def seconds(self) -> float | None:
        """Duration of the attempt so far, or in all once it has ended."""
        if self.started is None:
            return None
        end = self.ended if self.ended is not None else (time.time() if self.live else self.heartbeat)
        return None if end is None else max(0.0, end - self.started)

    @property
    def total_seconds(self) -> float | None:
        """Duration of all attempts together; of this one alone where the others' is not known."""
        return None if self.seconds is None else self.seconds + (self.earlier_seconds or 0.0)


def read_status(run: RunDirectory) -> RunStatus:
    """Looks at a run and says what it is doing. Reads only; a run on another machine is never declared lost."""
    return status_from(run, run.read_run(), run.read_state())


def status_from(run: RunDirectory, identity: Mapping[str, Any] | None, state: dict[str, Any] | None) -> RunStatus:
    """As `read_status`, of a run whose run.json and state.json were read a moment ago; None where they say nothing."""
    if (fault := _misplaced(run)) is not None:
        return RunStatus(status="damaged", damaged=fault, reason=fault)
    if identity is None or state is None or state.get("status") not in STATUSES:
        return _without_state(run, identity)
    status, reason, exit_code = str(state["status"]), _text(state.get("reason")), _int(state.get("exit_code"))
    ended = _number(state.get("ended"))
    attempt = _int(state.get("attempt"))
    stalled = False
    silence = None
    if status == "queued" and not is_queued(run, state):
        status, reason, exit_code = "lost", "it was queued, and its place in the queue is gone or damaged", 137
    elif status in LIVE and status != "queued":
        copied = is_copy(run, state)
        alive = False if copied else is_alive(state)
        terminal = last_terminal_event(run.events, attempt or 0) if alive is not True else None
        lost = read_object(run.lost_json) or {}
        cause = _text(lost.get("cause")) if lost.get("attempt") == attempt else None
        if terminal is not None:
            # The worker died between its last event and its last state: what it said it did is what it did.
            status = TERMINAL_KINDS[terminal["kind"]]
            reason, exit_code = _text(terminal.get("reason")), _int(terminal.get("exit_code"))
            ended = _number(terminal.get("time"))
        elif alive is False or (lost.get("attempt") == attempt and alive is not True):
            found = cause or (_of_the_original(state) if copied else cause_of_death(run, state))
            status, reason, exit_code = "lost", found, 137
            ended = _number(state.get("heartbeat"))
        else:
            stalled = _stalled(state)
            if alive is None and (silence := _silence(state)) is not None:
                reason = f"no heartbeat for {seconds_text(silence)}; {state.get('host')} cannot be looked at from here"
    return RunStatus(
        status=status,
        stalled=stalled,
        attempt=attempt,
        pid=_int(state.get("pid")),
        host=_text(state.get("host")),
        phase=_text(state.get("phase")),
        epoch=_int(state.get("epoch")) or 0,
        step=_int(state.get("step")) or 0,
        total_steps=_int(state.get("total_steps")),
        total_epochs=_int(state.get("total_epochs")),
        heartbeat=_number(state.get("heartbeat")),
        progress_at=_number(state.get("progress_at")),
        exit_code=exit_code,
        reason=reason,
        last_checkpoint=_checkpoint(state.get("last_checkpoint")),
        created=_number(identity.get("created")),
        started=_number(state.get("started")),
        ended=ended,
        earlier_seconds=_number(state.get("earlier_seconds")) if (attempt or 1) > 1 else 0.0,
        silence=silence,
    )


def trained_seconds(state: Mapping[str, Any]) -> float | None:
    """What all attempts up to this one took, by the state that it left; None where that was not recorded."""
    started, end = _number(state.get("started")), _number(state.get("ended")) or _number(state.get("heartbeat"))
    first = state.get("attempt") == 1
    earlier = 0.0 if first else _number(state.get("earlier_seconds"))
    return None if started is None or end is None or earlier is None else earlier + max(0.0, end - started)


def reconcile(run: RunDirectory) -> RunStatus:
    """As `read_status`; a death proved from here is also written to lost.json, for those who cannot prove it."""
    status = read_status(run)
    if status.status == "lost" and (read_object(run.lost_json) or {}).get("attempt") != status.attempt:
        finding = {
            "attempt": status.attempt,
            "by": {"host": host_name(), "pid": os.getpid(), "uid": os.getuid()},
            "cause": status.reason,
            "time": time.time(),
        }
        try:
            write_json(run.lost_json, finding)
        except OSError:
            pass  # a read-only or full workspace: the finding holds for this observer all the same
    return status


def _without_state(run: RunDirectory, identity: Mapping[str, Any] | None) -> RunStatus:
    created = _number((identity or {}).get("created"))
    if identity is None and (what := _no_directory(run)) is not None:
        return RunStatus(status="damaged", damaged=what, reason=what)
    attempt = run.latest_attempt()
    terminal = last_terminal_event(run.events, attempt) if identity is not None and attempt else None
    if terminal is not None:
        return RunStatus(
            status=TERMINAL_KINDS[terminal["kind"]],
            attempt=attempt,
            reason=_text(terminal.get("reason")),
            exit_code=_int(terminal.get("exit_code")),
            step=_int(terminal.get("step")) or 0,
            epoch=_int(terminal.get("epoch")) or 0,
            created=created,
            ended=_number(terminal.get("time")),
        )
    if created is None:
        try:
            created = run.path.stat().st_mtime
        except OSError:
            return RunStatus(status="damaged", damaged="the directory is gone", reason="the directory is gone")
    exists = run.state_json.exists()
    if exists and identity is not None and (run.read_state() or {}).get("status") in STATUSES:
        return read_status(run)  # the worker has just written its first one
    if time.time() - created < GRACE_SECONDS and not exists:
        return RunStatus(status="starting", attempt=attempt, created=created)
    if identity is None:
        what = "run.json is missing or damaged"
    elif exists:
        what = "state.json is damaged"
    else:
        what = "it was never started: state.json is missing"
    return RunStatus(status="damaged", attempt=attempt, created=created, damaged=what, reason=what)


def _misplaced(run: RunDirectory) -> str | None:
    """Why what lies among the runs of an experiment is none, whatever is in it: a backup of one, for example."""
    if RUN_NAME.fullmatch(run.path.name) or run.path.parts[-5:-4] != ("projects",):
        return None
    return "its name is not that of a run: run_ and a number of four digits or more"


def _no_directory(run: RunDirectory) -> str | None:
    if run.path.is_dir():
        return None
    if run.path.is_symlink():
        return f"it is a link to {os.readlink(run.path)}, which is not there"
    return "there is a file where the run's directory should be" if run.path.exists() else None


def is_copy(run: RunDirectory, state: Mapping[str, Any], *, quiet: float = SILENT_SECONDS) -> bool:
    """Whether the state tells of another directory's worker: nothing is written here, whoever lives or dies there.

    Args:
        quiet: seconds without a heartbeat from which on a directory that is another one is taken for a copy.
    """
    written, here, heartbeat = _int(state.get("directory")), run.inode, _number(state.get("heartbeat"))
    return None not in (written, here, heartbeat) and written != here and time.time() - (heartbeat or 0.0) > quiet


def _of_the_original(state: Mapping[str, Any]) -> str:
    return f"a copy of a run that was trained elsewhere (process {state.get('pid')} on {state.get('host')})"


def _stalled(state: Mapping[str, Any]) -> bool:
    if state.get("status") != "running" or state.get("phase") == "compiling":
        return False
    progress = _number(state.get("progress_at"))
    step = _number(state.get("step_seconds")) or 0.0
    return progress is not None and time.time() - progress > max(STALL_SECONDS, STALL_STEPS * step)


def _silence(state: Mapping[str, Any]) -> float | None:
    heartbeat = _number(state.get("heartbeat"))
    silent = None if heartbeat is None else time.time() - heartbeat
    return float(int(silent)) if silent is not None and silent > SILENT_SECONDS else None


def _checkpoint(value: Any) -> str | None:
    return _text(value.get("name")) if isinstance(value, Mapping) else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
