"""Which news of a run a person wants to be told, in a sentence; and the list of attempts that are listened to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import KladMLError
from kladml_core.runs import background
from kladml_core.runs.event_text import event_detail, event_kind
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import load_settings

PROCESS = "notices"
"""The kind of the background process that tells them."""
KINDS = ("run_finished", "run_failed", "run_stopped", "run_lost", "run_stalled", "non_finite")
"""The kinds of events that are told. `run_lost` and `run_stalled` are an observer's: no worker writes them."""
_ASKED = "stop requested"


@dataclass(frozen=True)
class Watched:
    """An attempt that is listened to until it has ended, as it stands in a file of its own."""

    file: Path
    run: RunDirectory
    attempt: int
    offset: int
    """Bytes of events.jsonl that have been read."""
    told: tuple[str, ...]
    """The kinds that are told once an attempt, and have been."""


def is_news(event: Mapping[str, Any]) -> bool:
    """Whether an event is told; that a run stopped is no news to the person who asked for it."""
    asked = event.get("kind") == "run_stopped" and event.get("reason") == _ASKED
    return event.get("kind") in KINDS and not asked


def sentence(event: Mapping[str, Any]) -> str:
    """The event in one line: `vision/digits/cnn/run_0003 run failed  step 120  …`."""
    return f"{event.get('run', '?')} {event_kind(event)}  {event_detail(event)}".rstrip()


def document(event: Mapping[str, Any], run: RunDirectory, *, test: bool = False) -> dict[str, Any]:
    """What a command gets on its standard input: the event with the run's reference, uid, path and a sentence."""
    whole = {**event, "run": run.reference}
    identity = run.read_run() or {}
    return {**whole, "uid": identity.get("uid"), "path": str(run.path), "text": sentence(whole), "test": test}


def lost_event(run: RunDirectory, attempt: int, reason: str | None, step: int, epoch: int) -> dict[str, Any]:
    """The end of an attempt that could not tell its own."""
    resumable = bool((run.read_state() or {}).get("last_checkpoint"))
    event = {"v": 1, "kind": "run_lost", "attempt": attempt, "time": time.time(), "step": step, "epoch": epoch}
    return {**event, "exit_code": 137, "reason": reason, "resumable": resumable}


def listen(run: RunDirectory, attempt: int, workspace: Path) -> None:
    """Puts a started attempt on the list and sees to it that somebody works it off; nothing without a command.

    What goes wrong here is written to the log of the background process: a run is not ended for a notice.
    """
    try:
        settings = load_settings(workspace)
    except KladMLError:
        return  # kladml.yaml was readable when this launch began; whoever edits it sees the fault there
    if settings.notices.command is None:
        return
    uid = str((run.read_run() or {}).get("uid") or run.path.name)
    folder = watch_folder(settings.data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / f"{uid}-{attempt:03d}.json",
            {"v": 1, "run": str(run.path.resolve()), "attempt": attempt, "offset": 0, "told": []},
        )
        background.ensure(settings.data, PROCESS, "kladml_core.runs.notices_process", str(settings.root))
    except (OSError, KladMLError) as error:
        with suppress(OSError), background.log_file(settings.data, PROCESS).open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%F %T')}  {run.reference} will not be told of: {error}\n")


def watch_folder(data: Path) -> Path:
    """Where the list is kept, a file for each attempt; one for each host, so that only its own processes look."""
    return data / ".background" / host_name() / "notices"


def watched(data: Path) -> list[Watched]:
    """The attempts that are listened to on this host, oldest first."""
    found = []
    for file in sorted(watch_folder(data).glob("*.json")):
        entry = read_object(file) or {}
        run, attempt, offset, told = (entry.get(key) for key in ("run", "attempt", "offset", "told"))
        if not (isinstance(run, str) and isinstance(attempt, int) and isinstance(offset, int)):
            continue
        kinds = tuple(str(kind) for kind in told) if isinstance(told, list) else ()
        found.append(Watched(file, RunDirectory(Path(run)), attempt, offset, kinds))
    return found


def example(kind: str, data: Path) -> dict[str, Any]:
    """An event of a kind as a command would get it, marked `test`; of the newest run, or of one that there is not."""
    run = max(all_runs(data), key=lambda path: path.stat().st_mtime, default=None)
    directory = RunDirectory(run or data / "projects" / "default" / "default" / "example" / "run_0001")
    event = {"v": 1, "kind": kind, "attempt": 1, "time": time.time(), "step": 100, "epoch": 1}
    return document({**event, "reason": "this is a test"}, directory, test=True)
