"""`python -m kladml_core.runs.detach RUN_DIR ATTEMPT MACHINE CWD COMMAND…`: a worker of nobody's terminal.

The process that runs this forks once and ends, so that the worker is never a child of the app (which could leave it a
zombie, or take it along). The child makes a session of its own, writes state.json `starting` with its own identity,
and becomes the command: pid and start time stay the same, so there is no moment in which the state names nobody.
The first process waits for that, and ends with the reason when it fails.

On another machine than 0 of several, which does not write the run, machine-N.json and machine-N.log take the places of
state.json and console.log.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from kladml_core.errors import ExitCode
from kladml_core.runs.files import write_json
from kladml_core.runs.process_tree import launcher_role, register
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import trained_seconds


def main(argv: list[str]) -> None:
    """Forks and returns in the parent; the child becomes `argv[4:]` and never returns."""
    run, directory, command = RunDirectory(Path(argv[0])), argv[3], argv[4:]
    attempt, machine = int(argv[1]), int(argv[2])
    printed = run.machine_json(attempt, machine).with_suffix(".log") if machine else run.console_log
    log = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    reading, writing = os.pipe()  # not inheritable: exec closes the child's end, and that is the good news
    if os.fork() == 0:
        os.close(reading)
        _become(run, attempt, machine, directory, command, log, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        failure = pipe.read()  # returns when state.json is written and the command runs, or has failed to
    if failure:
        sys.exit(failure.decode(errors="replace"))


def _become(
    run: RunDirectory, attempt: int, machine: int, directory: str, command: list[str], log: int, failures: int
) -> NoReturn:
    os.setsid()
    # Python's start takes a moment until the worker listens for itself; the launcher of several never does, and would
    # leave its workers behind instead of waiting for their last checkpoint.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    now = time.time()
    place, state = run.state_json, _first_state(run, attempt, now, os.fstat(log).st_size)
    if machine:
        place = run.machine_json(attempt, machine)
        state = {"v": 1, "machine": machine, **identity().to_json(), "started": now}
    try:
        register(run, attempt, launcher_role(machine))
        write_json(place, state)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(directory)
        for descriptor in map(int, os.listdir("/dev/fd")):
            if descriptor > 2:
                _close_on_exec(descriptor)
        os.execv(command[0], command)
    except OSError as error:
        os.write(failures, str(error).encode(errors="replace"))
    finally:
        os._exit(ExitCode.UNUSABLE)  # reached only when the command could not be started


def _first_state(run: RunDirectory, attempt: int, now: float, printed: int) -> dict[str, Any]:
    before = run.read_state() or {}
    queued = before.get("attempt") == attempt
    return {
        "v": 1,
        "status": "starting",
        "attempt": attempt,
        **identity().to_json(),
        "directory": run.inode,
        "phase": "starting",
        "epoch": 0,
        "step": 0,
        "started": now,
        "progress_at": now,
        "heartbeat": now,
        "earlier_seconds": before.get("earlier_seconds") if queued else trained_seconds(before),
        "console": printed,
        "last_checkpoint": before.get("last_checkpoint"),
    }


def _close_on_exec(descriptor: int) -> None:
    """What this process holds until the state is written (the queue's lock, say) ends with it; the worker has none."""
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        pass  # the listing's own, closed by now


if __name__ == "__main__":
    main(sys.argv[1:])
