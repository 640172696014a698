"""Keeps the ranks of a run from outliving their launcher, or one that has failed. Imports no torch.

Ranks whose launcher was killed would train on with nobody to end them when one fails, and with their output going
nowhere. They ask themselves to stop, at one step and with a checkpoint, as for any signal. A rank that waits for one
that has failed (in their first meeting, say, which nothing breaks off) ends at once, and rank 0 tells the cause.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kladml_core.runs.files import read_object
from kladml_core.runs.process_tree import launcher_role
from kladml_core.runs.processes import is_alive
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training import rank_failures
from kladml_core.training.signals import StopSignals

LOOK_SECONDS = 0.5
FAILED_SECONDS = 5.0
"""What a rank has to find out for itself, by a broken connection, that another one has failed."""
WAIT_SECONDS = 30.0
_ENDED = ("finished", "failed", "stopped")


def watch(run: RunDirectory, attempt: int, signals: StopSignals, end: Callable[[int], None]) -> None:
    """Starts watching, where a launcher has started this process.

    Args:
        end: ends this process at once, with an exit code.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    signals.launcher = os.getppid()
    role = launcher_role(int(os.environ.get("GROUP_RANK", "0")))
    record = read_object(run.attempt_dir(attempt) / "processes" / f"{role}.json")
    if record is not None and is_alive(record) is False:
        signals.launcher = int(record["pid"])  # it died before this process could ask who its parent is
    watching = (signals, run.attempt_dir(attempt), end)
    threading.Thread(target=_look, args=watching, name="launcher-watch", daemon=True).start()


def let_rank_0_end_first(run: RunDirectory, attempt: int) -> None:
    """Waits until rank 0 has written how the run ended, or is gone.

    The launcher takes the first exit code but 0 for a failure and signals the other ranks, and a second signal would
    end rank 0 in the middle of its last checkpoint.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        state = run.read_state() or {}
        if state.get("attempt") != attempt or state.get("status") in _ENDED or is_alive(state) is False:
            return
        time.sleep(LOOK_SECONDS / 10)


def _look(signals: StopSignals, folder: Path, end: Callable[[int], None]) -> None:
    asked, ended_by = False, float("inf")
    while True:
        time.sleep(LOOK_SECONDS)
        if signals.orphaned and not asked:
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)
        failed = rank_failures.find(folder)
        if failed is not None and time.monotonic() >= (ended_by := min(ended_by, time.monotonic() + FAILED_SECONDS)):
            end(int(failed.exit_code))
