"""A worker that trains nothing: the run directory, the process and the scheduler are real, and torch is not loaded.

As a module it is the worker; `tests.core.small_scheduler` starts it in place of the one that trains.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from kladml_core.backends.run_log import RunLog
from kladml_core.config.load import read
from kladml_core.runs.rundir import RunDirectory

SECONDS = 60.0
FAILS = 13
"""The seed of a run that fails."""


def main(argv: list[str]) -> int:
    """Tells `began.txt` of itself, waits while there is a file `hold`, and ends."""
    run, attempt = RunDirectory(Path(argv[1])), int(argv[2])
    with Path("began.txt").open("a") as file:
        file.write(f"{run.reference} {attempt} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\n")
    log = RunLog(run, attempt)
    log.event("run_started", step=0)
    log.status("running")
    deadline = time.monotonic() + SECONDS
    while Path("hold").exists() and not (run.control / "stop.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    failed = read(run.config).data["seed"] == FAILS
    status, code, reason = ("failed", 1, "ValueError: thirteen") if failed else ("finished", 0, "done")
    log.event(f"run_{status}", exit_code=code, reason=reason)
    log.status(status, exit_code=code, reason=reason)
    log.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
