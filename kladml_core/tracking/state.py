"""tracking.json: how far a run has been sent, and to which tracker. Written by the sync process alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kladml_core.config.secrets import mask
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings

FILE = "tracking.json"
REFUSED_KEPT = 100
"""How many refused records are listed; all are counted."""
LOCAL = "local"


@dataclass(frozen=True)
class Sent:
    """What a tracker has of a run."""

    target: str
    """The tracker, see `target_of`; for another one all is sent from the start."""
    uid: str
    """The run's uid: a copied directory is another run's."""
    run_id: str | None = None
    """The tracker's own name for the run; None before it was begun there."""
    experiment: str = ""
    name: str = ""
    """What the tracker calls it: its reference when it was begun, wherever it may lie by now."""
    exactly_once: bool | None = None
    """Whether sending again stores nothing twice; None before the run was begun."""
    lacks: tuple[str, ...] = ()
    """What the tracker has no place for: tags, files, times."""
    attempt: int = 0
    """The attempt whose config has been sent."""
    resumes: int = 0
    """How many `resumed` events have been looked at."""
    offsets: Mapping[str, int] = field(default_factory=dict)
    """Metric → bytes of its series file that are done with."""
    records: int = 0
    """Values that were sent."""
    given_up: int = 0
    """Of these, how many a later resume gave up: they had been sent by then."""
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Path below the run's directory → size in bytes and time of change in nanoseconds when it was sent."""
    refused: tuple[str, ...] = ()
    """What will never be taken, a sentence each; the first hundred."""
    refused_count: int = 0
    ended: int = 0
    """The attempt whose end has been sent."""
    error: str | None = None
    """Why nothing is getting through."""
    error_since: float | None = None
    """Unix seconds."""


def target_of(settings: Settings) -> str | None:
    """Where runs are tracked, in words that do not change with the workspace's place; None where nowhere."""
    backend, uri = settings.tracker.backend, settings.tracker.uri
    if backend == "none":
        return None
    if uri is None:
        return backend
    return mask(uri) if backend in (LOCAL, "mlflow") else f"{backend} {mask(uri)}"


def read_sent(run: RunDirectory, uid: str, target: str | None = None) -> Sent:
    """How far a run has been sent to a tracker; nothing yet where the file is missing, damaged or of another one.

    Args:
        target: the tracker; the one that it was sent to last where None.
    """
    found = read_object(run.path / FILE) or {}
    target = target or str(found.get("target"))
    nothing = Sent(target, uid)
    if found.get("target") != target or found.get("uid") != uid:
        return nothing
    numbers = ("attempt", "resumes", "records", "given_up", "refused_count", "ended")
    try:
        known: dict[str, Any] = {
            **{key: found[key] for key in ("run_id", "experiment", "name", "exactly_once", "error", "error_since")},
            **{key: int(found[key]) for key in numbers},
            "lacks": tuple(map(str, found["lacks"])),
            "offsets": {str(name): int(offset) for name, offset in found["offsets"].items()},
            "tags": {str(name): str(value) for name, value in found["tags"].items()},
            "files": {str(name): (int(size), int(changed)) for name, (size, changed) in found["files"].items()},
            "refused": tuple(map(str, found["refused"])),
        }
        return replace(nothing, **known)
    except (KeyError, TypeError, ValueError, AttributeError):
        return nothing


def write_sent(run: RunDirectory, sent: Sent) -> None:
    """Replaces tracking.json in one step.

    Raises:
        OSError: it cannot be written; the earlier one is untouched.
    """
    # Not forced to the disk: after a power cut some of it is sent again, which a tracker stores once.
    write_json(run.path / FILE, {"v": 1, **asdict(sent), "written": time.time()}, durable=False)


def with_error(sent: Sent, text: str | None) -> Sent:
    """The same with why it does not go on, since when; None where it does."""
    since = None if text is None else (sent.error_since or time.time())
    return replace(sent, error=text and mask(text), error_since=since)


def uid_of(run: RunDirectory) -> str | None:
    """The run's uid, None where its directory is gone or damaged."""
    uid: Any = (run.read_run() or {}).get("uid")
    return uid if isinstance(uid, str) else None


def data_of(run: RunDirectory) -> Path:
    """The data directory that a run lies in."""
    return run.path.parents[4]
