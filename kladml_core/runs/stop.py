"""What is written to stop a run or to have it save a checkpoint, and who has signalled it; `ladder` does the rest."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, strict_dumps, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status


def request_stop(run: RunDirectory, *, by: str) -> None:
    """Asks the worker to save a checkpoint at its next step and stop; returns at once. What waits leaves the queue.

    Args:
        by: who asks, for the event that the worker writes, e.g. `Ctrl-C`.

    Raises:
        UnusableError: the run is not live, or its directory cannot be written.
    """
    if read_status(run).status == "queued":
        from kladml_core.runs.queue import remove_run  # the queue launches, which imports much

        remove_run(run)
        return
    _request(run, "stop", by)


def request_checkpoint(run: RunDirectory, *, by: str) -> None:
    """Asks the worker to save a checkpoint at its next step and go on; raises as `request_stop`."""
    _request(run, "checkpoint", by)


def asked_by(run: RunDirectory, attempt: int) -> str | None:
    """Who has asked this attempt to stop, where the request still stands."""
    request = _pending(run, attempt)
    return None if request is None else f"{request.get('by')} on {request.get('host')}"


def withdraw(run: RunDirectory, attempt: int) -> str:
    """Takes this process's stop request back where the run has not taken it yet; returns what has come of it."""
    request = _pending(run, attempt)
    if read_status(run).status == "stopping" or request is None:
        return "the run has taken the request already and stops by itself; no signal is sent"
    if (request.get("host"), request.get("pid")) != (host_name(), os.getpid()):
        return f"no signal is sent; the request of {asked_by(run, attempt)} stands"
    try:
        _request_file(run, "stop").unlink(missing_ok=True)
    except OSError as error:
        return f"no signal is sent, but the request cannot be withdrawn: {error.strerror}"
    return "cancelled: the request is withdrawn and the run goes on"


def signalled(run: RunDirectory, attempt: int) -> dict[str, Any] | None:
    """Who sent the attempt its first SIGTERM on somebody's behalf, and when; None where nobody did."""
    return read_object(_signal_file(run, attempt))


def claim_signal(run: RunDirectory, attempt: int, *, by: str) -> dict[str, Any] | None:
    """Claims the right to send the attempt's first SIGTERM: a second one would cost the run its checkpoint.

    Returns:
        None when the caller is to send it; else who has sent it, as `signalled` does.
    """
    record = {"time": time.time(), "by": by, "host": host_name(), "pid": os.getpid()}
    try:
        with _signal_file(run, attempt).open("x", encoding="utf-8") as file:
            file.write(strict_dumps(record))
    except FileExistsError:
        return signalled(run, attempt) or {"by": "another process"}  # which is just writing it
    except OSError:
        pass  # a full disk or a read-only workspace must not keep a run from being stopped
    return None


def _signal_file(run: RunDirectory, attempt: int) -> Path:
    return run.attempt_dir(attempt) / "sigterm.json"


def _request_file(run: RunDirectory, what: str) -> Path:
    return run.control / f"{what}.json"


def _pending(run: RunDirectory, attempt: int) -> dict[str, Any] | None:
    request = read_object(_request_file(run, "stop"))
    return request if request is not None and request.get("attempt") == attempt else None


def _request(run: RunDirectory, what: str, by: str) -> None:
    status = read_status(run)
    if not status.live:
        raise UnusableError(f"{run.reference} is not running: it is {status.status}")
    request = {"attempt": status.attempt, "time": time.time(), "by": by, "host": host_name(), "pid": os.getpid()}
    try:
        run.control.mkdir(exist_ok=True)
        write_json(_request_file(run, what), request)
    except OSError as error:
        raise UnusableError(f"cannot write the request into {run.control}: {error.strerror}") from error
