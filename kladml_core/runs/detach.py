"""`python -m kladml_core.runs.detach RUN_DIR ATTEMPT CWD COMMAND…`: starts a worker that belongs to nobody's terminal.

The process that runs this forks once and ends, so that the worker is never a child of the app (which could leave it a
zombie, or take it along). The child makes a session of its own, writes state.json `starting` with its own identity,
and becomes the command: pid and start time stay the same, so there is no moment in which the state names nobody.
The first process waits for that, and ends with the reason when it fails.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from kladml_core.errors import ExitCode
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory


def main(argv: list[str]) -> None:
    """Forks and returns in the parent; the child becomes `argv[3:]` and never returns."""
    run, attempt, directory, command = RunDirectory(Path(argv[0])), int(argv[1]), argv[2], argv[3:]
    log = os.open(run.console_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    reading, writing = os.pipe()  # not inheritable: exec closes the child's end, and that is the good news
    if os.fork() == 0:
        os.close(reading)
        _become(run, attempt, directory, command, log, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        failure = pipe.read()  # returns when state.json is written and the command runs, or has failed to
    if failure:
        sys.exit(failure.decode(errors="replace"))


def _become(run: RunDirectory, attempt: int, directory: str, command: list[str], log: int, failures: int) -> NoReturn:
    os.setsid()
    # Python's start takes a moment until the worker listens for itself; the launcher of several never does, and would
    # leave its workers behind instead of waiting for their last checkpoint.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    now = time.time()
    state = {
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
        "last_checkpoint": (run.read_state() or {}).get("last_checkpoint"),
    }
    try:
        write_json(run.state_json, state)
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


def _close_on_exec(descriptor: int) -> None:
    """What this process holds until the state is written (the queue's lock, say) ends with it; the worker has none."""
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        pass  # the listing's own, closed by now


if __name__ == "__main__":
    main(sys.argv[1:])
