"""What ended one of several processes, for rank 0, which alone writes the run's end. Imports no torch.

A process that fails leaves a file beside its attempt. The others learn of it as a broken connection, and rank 0 then
tells the cause instead of the echo.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kladml_core.errors import ExitCode
from kladml_core.runs.files import read_object, write_json
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


def is_echo(error: BaseException) -> bool:
    """Whether an error may only say that another process has gone."""
    if type(error).__name__.startswith("Dist") or isinstance(error, ConnectionError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _ECHOES)


def _failure(found: dict[str, Any]) -> Failure:
    words = {key: found.get(key) for key in ("file", "line", "column", "hint")}
    return Failure(f"rank {found.get('rank')}: {found.get('message')}", ExitCode(found["exit_code"]), **words)
