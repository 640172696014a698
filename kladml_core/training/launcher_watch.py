"""Keeps the ranks of a run from outliving their launcher: one that finds it gone asks itself to stop.

Ranks whose launcher was killed would train on with nobody to end them when one fails, and with their output going
nowhere. They stop at one step, with a checkpoint, as they do for any signal. Imports no torch.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from kladml_core.runs.files import read_object
from kladml_core.runs.process_tree import launcher_role
from kladml_core.runs.processes import is_alive
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.signals import StopSignals

LOOK_SECONDS = 0.5
WAIT_SECONDS = 30.0
_ENDED = ("finished", "failed", "stopped")


def watch(run: RunDirectory, attempt: int, signals: StopSignals) -> None:
    """Starts watching, where a launcher has started this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    signals.launcher = os.getppid()
    role = launcher_role(int(os.environ.get("GROUP_RANK", "0")))
    record = read_object(run.attempt_dir(attempt) / "processes" / f"{role}.json")
    if record is not None and is_alive(record) is False:
        signals.launcher = int(record["pid"])  # it died before this process could ask who its parent is
    threading.Thread(target=_look, args=(signals,), name="launcher-watch", daemon=True).start()


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


def _look(signals: StopSignals) -> None:
    while not signals.orphaned:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
