"""Whether a run that was fetched goes on where it came from: then it must not go on here too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from kladml_core.errors import UnusableError
from kladml_core.runs.event_text import seconds_text
from kladml_core.runs.files import read_object
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import FETCHED, LIVE_SECONDS, Store, StoredRun

ASK_SECONDS = 15.0
"""How long a resume waits for the storage to say how the run stands there."""


def refuse_if_live_elsewhere(run: RunDirectory, store: Callable[[], Store | None]) -> None:
    """Keeps a run that was fetched from going on twice: here, and where it came from.

    Args:
        run: one that is to be resumed.
        store: makes the storage, which is asked how the run stands there now; where that fails, what was known when it
            was fetched counts.

    Raises:
        UnusableError: it is live there, or went on there since it was fetched.
    """
    fetched = read_object(run.path / FETCHED)
    if fetched is None or (run.read_state() or {}).get("attempt") != fetched.get("attempt"):
        return  # it came into being here, or has gone on here since
    now = _asked(run, store, str(fetched.get("reference")))
    if now is not None and now.uid == fetched.get("uid"):
        events = now.files.get("events.jsonl")
        live, stored, host = now.live, now.time, now.host
        gone_on = events is not None and events.size > (fetched.get("events") or 0)
    else:
        live, stored, host = bool(fetched.get("live")), float(fetched.get("stored") or 0), str(fetched.get("host"))
        gone_on = False
    ago = time.time() - stored
    if live and ago < LIVE_SECONDS:
        raise UnusableError(
            f"{run.reference} was live on {host} {seconds_text(int(max(0.0, ago)))} ago",
            hint=f"Stop it there first; once it is silent for {seconds_text(int(LIVE_SECONDS))}, or with "
            "`kladml-tui resume --force`, it goes on here",
        )
    if gone_on:
        raise UnusableError(
            f"{run.reference} went on on {host} since it was fetched",
            hint="`kladml-tui fetch` gets what came since; `kladml-tui resume --force` goes on without it",
        )


def _asked(run: RunDirectory, store: Callable[[], Store | None], reference: str) -> StoredRun | None:
    found: list[StoredRun | None] = []

    def ask() -> None:
        with suppress(Exception):  # a storage is somebody else's code and server; what is known here counts then
            made = store()
            found.append(made.read(reference) if made is not None else None)

    thread = threading.Thread(target=ask, name="storage", daemon=True)
    thread.start()
    thread.join(ASK_SECONDS)
    return found[0] if found else None
