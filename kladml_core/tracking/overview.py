"""What is still to be sent of the runs of a workspace, and waiting for it; for the commands and for Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import UnusableError
from kladml_core.runs import background
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.settings import Settings
from kladml_core.tracking import facts, outbox
from kladml_core.tracking.state import Sent, read_sent, target_of, uid_of

BUILT_IN = ("local", "mlflow")
"""Trackers that store what is sent again once."""
WAIT_SECONDS = 30.0
"""How long a command that follows a run waits for its tracking."""
_LOOK_SECONDS = 0.1
_START_SECONDS = 15.0
"""How long the process may take to appear."""


@dataclass(frozen=True)
class RunTracking:
    """How far one run has been sent."""

    run: str
    """Its reference."""
    uid: str
    path: str
    state: str
    """sent · running: sent as far as it is · pending · failing · unsent: never begun, and not listed."""
    records: int
    """Values in the series that are not sent, those that count no more among them."""
    bytes: int
    """Of these values and of the files that are not sent."""
    files: tuple[str, ...]
    """Files that are not sent, below the run's directory."""
    sent: int
    """Values that are sent."""
    given_up: int
    """Of these, how many a later resume gave up: they had been sent by then."""
    refused: tuple[str, ...]
    """What the tracker will never take; the first hundred."""
    refused_count: int
    guarantee: str | None
    """exactly once, or at least once; None before the run was begun there."""
    lacks: tuple[str, ...]
    """What the tracker has no place for."""
    run_id: str | None
    """The tracker's own name for it."""
    error: str | None
    """Why it does not go on."""
    since: float | None
    """Since when, in unix seconds."""

    @property
    def directory(self) -> RunDirectory:
        """The run itself."""
        return RunDirectory(Path(self.path))

    @property
    def waits(self) -> bool:
        """Whether there is something to send and to be listed for."""
        return self.state in ("pending", "failing", "unsent")


@dataclass(frozen=True)
class Tracking:
    """How the tracking of a workspace stands on this host."""

    target: str | None
    """The tracker; None where nothing is tracked."""
    guarantee: str | None
    """exactly once, or at least once; None where it is not known before a run was begun."""
    refusal: str | None
    """Why it cannot be used."""
    pid: int | None
    """The process that sends; None where there is none."""
    runs: tuple[RunTracking, ...]

    def to_json(self) -> dict[str, Any]:
        """As commands print it."""
        return asdict(self)


def look(settings: Settings, runs: Sequence[RunDirectory] | None = None) -> Tracking:
    """How the tracking stands.

    Args:
        runs: the runs to look at; those that are listed to be sent from this host when None.
    """
    target = target_of(settings)
    holding = background.holder(settings.data, outbox.PROCESS)
    entries = {entry.uid: entry for entry in outbox.listed(settings.data)}
    wanted = [entry.run for entry in entries.values()] if runs is None else runs
    found = [_look(run, target, entries) for run in wanted] if target is not None else []
    known = tuple(one for one in found if one is not None)
    told = next((one.guarantee for one in known if one.guarantee is not None), None)
    guarantee = "exactly once" if settings.tracker.backend in BUILT_IN else told
    return Tracking(
        target=target,
        guarantee=guarantee if target is not None else None,
        refusal=outbox.refusal(settings),
        pid=holding["pid"] if holding is not None else None,
        runs=known,
    )


def every_run(settings: Settings) -> list[RunDirectory]:
    """Every run of the workspace, sorted by its reference."""
    return sorted(map(RunDirectory, all_runs(settings.data)), key=lambda run: run.ref)


def send(settings: Settings, runs: Iterable[RunDirectory]) -> None:
    """Lists runs to be sent from this host, and sees to it that somebody does.

    Raises:
        UnusableError: nothing is tracked here, or the process cannot be started.
        OSError: the list cannot be written.
    """
    refused = outbox.refusal(settings)
    if target_of(settings) is None or refused is not None:
        raise UnusableError(refused or "tracker.backend is none: nothing is tracked", hint="see kladml.yaml")
    for run in runs:
        outbox.add(settings, run, read_status(run).attempt or 1)
    if outbox.listed(settings.data):
        outbox.start(settings)


def let_go(settings: Settings) -> None:
    """Ends a process that fails, so that the next one is started with this one's environment, and tries at once.

    Secrets come from the environment, and the process has that of the launch which started it. Where ending it would
    have a tracker store something twice, it goes on as long as any run gets on.

    Raises:
        UnusableError: it does not end.
    """
    # Whatever tracker it fails on: its variables may name another one than this process's.
    sent = [read_sent(entry.run, entry.uid) for entry in outbox.listed(settings.data)]
    if any(one.error for one in sent) and all(one.error or one.exactly_once is not False for one in sent):
        background.end(settings.data, outbox.PROCESS)


def wait_until_sent(
    data: Path, uids: Iterable[str] | None, seconds: float, skip: Callable[[], bool] = lambda: False
) -> list[RunTracking]:
    """Waits until ended runs are sent, and live ones as far as they are.

    Args:
        data: the workspace's data directory.
        uids: the runs; all that are listed on this host when None.
        seconds: for how long.
        skip: asked ten times a second; ends the waiting.

    Returns:
        what is still to be sent.
    """
    wanted = None if uids is None else set(uids)
    began = time.monotonic()
    while True:
        entries = {entry.uid: entry for entry in outbox.listed(data) if wanted is None or entry.uid in wanted}
        found = (_look(entry.run, None, entries) for entry in entries.values())
        waiting = [run for run in found if run is not None and (run.state != "running" or run.files)]
        passed = time.monotonic() - began
        nobody = passed > _START_SECONDS and background.holder(data, outbox.PROCESS) is None
        if not waiting or passed >= seconds or nobody or skip():
            return waiting
        time.sleep(_LOOK_SECONDS)


def sentence(run: RunTracking) -> str:
    """What is pending of a run, for a person."""
    parts = []
    if run.records:
        parts.append(f"{run.records:,} values")
    if run.files:
        parts.append(f"{len(run.files)} files")
    what = " and ".join(parts) or "its end"
    return f"{what} pending" + (f": {run.error}" if run.error else "")


def _look(run: RunDirectory, target: str | None, entries: dict[str, outbox.Listed]) -> RunTracking | None:
    uid = uid_of(run)
    if uid is None:
        return None  # damaged, or gone since it was listed
    sent = read_sent(run, uid, target)
    status = read_status(run)
    left = facts.left(run, sent, status, uid)
    state = _state(sent, uid in entries, status.live, status.attempt or 1, bool(left))
    known = sent.exactly_once is not None
    return RunTracking(
        run=run.reference,
        uid=uid,
        path=str(run.path),
        state=state,
        records=left.records,
        bytes=left.bytes,
        files=left.files,
        sent=sent.records,
        given_up=sent.given_up,
        refused=sent.refused,
        refused_count=sent.refused_count,
        guarantee=("exactly once" if sent.exactly_once else "at least once") if known else None,
        lacks=sent.lacks,
        run_id=sent.run_id,
        error=sent.error,
        since=sent.error_since,
    )


def _state(sent: Sent, is_listed: bool, live: bool, attempt: int, left: bool) -> str:
    if sent.error is not None:
        return "failing"
    if live and is_listed and sent.run_id is not None:
        return "running"
    if not live and sent.ended == attempt and not left:
        return "sent"
    return "pending" if is_listed or sent.run_id is not None else "unsent"
