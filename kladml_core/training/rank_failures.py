"""What ended one of several processes, for rank 0, which alone writes the run's end. Imports no torch.

A process that fails leaves a file beside its attempt. The others learn of it as a broken connection, and rank 0 then
tells the cause instead of the echo.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kladml_core.errors import ExitCode
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.process_tree import recorded
from kladml_core.runs.processes import is_alive
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.failures import Failure

WAIT_SECONDS = 3.0
_ECHOES = ("connection closed by peer", "connection reset by peer", "gloo", "nccl")
_LOOK_SECONDS = 0.05


def leave(folder: Path, rank: int, failure: Failure) -> None:
    """Writes down why this rank ends. A disk that refuses costs the cause, not the end."""
    try:
        write_json(folder / f"rank-{rank}.json", {"rank": rank, **failure.to_event()})
    except OSError:
        pass


def find(folder: Path, wait: float = 0.0) -> Failure | None:
    """The cause that another rank left, waiting for it up to so many seconds; None where none did."""
    deadline = time.monotonic() + wait
    while True:
        for path in sorted(folder.glob("rank-*.json")):
            found = read_object(path)
            if found is not None:
                return _failure(found)
        if time.monotonic() >= deadline:
            return None
        time.sleep(_LOOK_SECONDS)


def of_the_gone(run: RunDirectory, attempt: int, echo: Failure) -> Failure:
    """What to tell where no rank left a cause: which of this machine have gone without a word.

    Args:
        echo: the broken connection, which is all there is to tell of a rank of another machine.
    """
    ranks = [one for one in recorded(run, attempt) if str(one.get("role")).startswith("rank-")]
    gone = [
        f"{str(one['role']).replace('-', ' ')} (process {one.get('pid')})" for one in ranks if is_alive(one) is False
    ]
    if gone:
        return replace(echo, message=f"{', '.join(gone)} has gone: killed, or ended from within")
    return replace(echo, message=f"another process of this run has gone: {echo.message}")


def is_echo(error: BaseException) -> bool:
    """Whether an error may only say that another process has gone."""
    if is_killed_loader(error) and error.__context__ is not None:
        # The launcher, on its part, ends what loads data for the ranks that are left.
        return is_echo(error.__context__)
    if type(error).__name__.startswith("Dist") or isinstance(error, ConnectionError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _ECHOES)


def is_killed_loader(error: BaseException) -> bool:
    """Whether it says that a signal has ended a process that loads data."""
    return isinstance(error, RuntimeError) and "killed by signal" in str(error)


def _failure(found: dict[str, Any]) -> Failure:
    words = {key: found.get(key) for key in ("file", "line", "column", "hint")}
    return Failure(f"rank {found.get('rank')}: {found.get('message')}", ExitCode(found["exit_code"]), **words)
