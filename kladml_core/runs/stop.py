"""Asking a run to stop or to save a checkpoint, and signalling its worker where it is provably ours."""

from __future__ import annotations

import os
import signal
import time

from kladml_core.errors import NotSupportedError, UnusableError
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import host_name, is_alive
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


def terminate(run: RunDirectory, signal_number: int = signal.SIGTERM) -> None:
    """Sends a signal to the run's worker.

    Raises:
        NotSupportedError: the worker is another machine's, container's or user's process.
        UnusableError: the worker is gone already.
    """
    state = run.read_state() or {}
    alive = is_alive(state)
    if alive is None:
        raise NotSupportedError(
            f"the worker of {run.reference} cannot be signalled from here (it runs on {state.get('host', 'unknown')})",
            hint=f"ask it to stop instead, or log in to {state.get('host', 'that machine')}",
        )
    try:
        if not alive:
            raise ProcessLookupError
        os.kill(int(state["pid"]), signal_number)
    except ProcessLookupError:
        raise UnusableError(f"the worker of {run.reference} is gone already") from None


def _request(run: RunDirectory, what: str, by: str) -> None:
    status = read_status(run)
    if not status.live:
        raise UnusableError(f"{run.reference} is not running: it is {status.status}")
    request = {"attempt": status.attempt, "time": time.time(), "by": by, "host": host_name(), "pid": os.getpid()}
    try:
        run.control.mkdir(exist_ok=True)
        write_json(run.control / f"{what}.json", request)
    except OSError as error:
        raise UnusableError(f"cannot write the request into {run.control}: {error.strerror}") from error
