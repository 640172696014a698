"""Which news of a run a person wants to be told, in a sentence; and the list of attempts that are listened to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import ConfigError, KladMLError, UnusableError
from kladml_core.runs import background
from kladml_core.runs.event_text import event_detail, event_kind
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.notice_command import Ran, run_command
from kladml_core.runs.processes import host_name
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings, load_settings

PROCESS = "notices"
"""The kind of the background process that tells them."""
KINDS = ("run_finished", "run_failed", "run_stopped", "run_lost", "run_stalled", "non_finite")
"""The kinds of events that are told. `run_lost` and `run_stalled` are an observer's: no worker writes them."""
_ASKED = "stop requested"
_STATUS = {"run_finished": "finished", "run_failed": "failed", "run_stopped": "stopped", "run_lost": "lost"}
_EXIT_CODES = {"run_finished": 0, "run_failed": 1, "run_stopped": 75, "run_lost": 137}
_LOG_LINES = 20
_LOG_BYTES = 1 << 16


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


@dataclass(frozen=True)
class Overview:
    """What is told in a workspace, and how that goes on this host."""

    bell: bool
    command: str | None
    kinds: tuple[str, ...]
    """The kinds of events that are told."""
    listening: tuple[str, ...]
    """References of the runs that are listened to."""
    pid: int | None
    """The process that does it; None where there is none: the next launch starts one."""
    log: tuple[str, ...]
    """The last lines of `log_file`: how the commands went."""
    log_file: Path

    @property
    def facts(self) -> list[tuple[str, str]]:
        """All of it but the log, as pairs of what it is and what it says."""
        if self.pid is not None:
            process = [("process", str(self.pid))]
        else:
            process = [("process", "none; the next launch starts one")] if self.listening else []
        return [
            ("bell", "on" if self.bell else "off"),
            ("command", self.command or "none; set notices.command in kladml.yaml"),
            ("told", ", ".join(kind.replace("_", " ") for kind in self.kinds)),
            *(("listening to", reference) for reference in self.listening),
            *process,
        ]


def is_news(event: Mapping[str, Any]) -> bool:
    """Whether an event is told; that a run stopped is no news to the person who asked for it."""
    asked = event.get("kind") == "run_stopped" and event.get("reason") == _ASKED
    return event.get("kind") in KINDS and not asked


def sentence(event: Mapping[str, Any]) -> str:
    """The event in one line: `vision/digits/cnn/run_0003 run failed  step 120  …`."""
    return f"{event.get('run', '?')} {event_kind(event)}  {event_detail(event)}".rstrip()


def document(event: Mapping[str, Any], run: RunDirectory, *, test: bool = False) -> dict[str, Any]:
    """What a command gets on its standard input.

    The event, and of its run the reference, uid, path and status, the last value of each metric, and all in a sentence.
    """
    whole = {**event, "run": run.reference, "status": _STATUS.get(str(event.get("kind")), "running")}
    if not isinstance(event.get("metrics"), Mapping):
        summary = (read_object(run.summary) or {}).items()
        whole["metrics"] = {name: entry.get("last") for name, entry in summary if isinstance(entry, dict)}
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


def overview(settings: Settings) -> Overview:
    """What is told in a workspace, and how that goes on this host."""
    holding = background.holder(settings.data, PROCESS)
    log = background.log_file(settings.data, PROCESS)
    return Overview(
        bell=settings.notices.bell,
        command=settings.notices.command,
        kinds=KINDS,
        listening=tuple(entry.run.reference for entry in watched(settings.data)),
        pid=holding["pid"] if holding is not None else None,
        log=_last_lines(log),
        log_file=log,
    )


def rehearse(settings: Settings, kind: str = KINDS[0]) -> tuple[dict[str, Any], Ran]:
    """Runs the command once with an event that says `"test": true`, as if the newest run had just told it.

    Returns:
        the event, and how the command went.

    Raises:
        ConfigError: events of the kind are not told.
        UnusableError: there is no command, or it cannot be run.
    """
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is not told", hint=f"The kinds are {', '.join(KINDS)}")
    if settings.notices.command is None:
        raise UnusableError("there is no command to try", hint="Set notices.command in kladml.yaml")
    event = _example(kind, settings.data)
    try:
        return event, run_command(settings.notices.command, event, settings.root)
    except OSError as error:
        raise UnusableError(f"the command cannot be run: {error}") from error


def _example(kind: str, data: Path) -> dict[str, Any]:
    run = max(all_runs(data), key=_changed, default=data / "projects" / "default" / "default" / "example" / "run_0001")
    event = {"v": 1, "kind": kind, "attempt": 1, "time": time.time(), "step": 100, "epoch": 1}
    if kind in _EXIT_CODES:
        event |= {"exit_code": _EXIT_CODES[kind], "resumable": kind in ("run_stopped", "run_lost")}
    return document({**event, "reason": "this is a test"}, RunDirectory(run), test=True)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # gone meanwhile


def _last_lines(log: Path) -> tuple[str, ...]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_BYTES))
            return tuple(file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return ()
