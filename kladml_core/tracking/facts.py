"""What is sent of a run beside its metrics: parameters, tags and files; and how much of all that is not sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.config.diff import flatten
from kladml_core.config.document import dotted
from kladml_core.config.load import read
from kladml_core.errors import KladMLError
from kladml_core.metrics.names import RECORD_SIZE, file_name, list_metrics
from kladml_core.runs.notes import read_notes
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus
from kladml_core.tracking.state import Sent

UID_TAG = "kladml.uid"
CHANGED = "kladml.changed."
"""Prefix of the tag that holds the value of a parameter which a resume has changed: a tracker keeps the first."""
TRACKER_STATUS: Mapping[str, str] = {"finished": "FINISHED", "stopped": "KILLED"}
"""A run's last status → the tracker's; every other end is FAILED."""


def experiment(run: RunDirectory) -> str:
    """What the tracker files the run under: project/family/experiment, or the name that a program has given it."""
    ref = run.ref
    if (run.read_attempt(1) or {}).get("in_process") is True:
        return ref.experiment
    return f"{ref.project}/{ref.family}/{ref.experiment}"


def params(run: RunDirectory, attempt: int) -> dict[str, Any]:
    """The config of an attempt with dotted keys; empty where it cannot be read."""
    for file in (run.attempt_dir(attempt) / "config.yaml", run.config):
        try:
            return {dotted(path): value for path, value in flatten(read(file).data).items()}
        except (KladMLError, OSError):
            continue
    return {}


def new_tags(run: RunDirectory, status: RunStatus, uid: str, sent: Mapping[str, str]) -> dict[str, str]:
    """Who, where, from which code, how it stands, and what a person noted of it: what is not sent as it is now."""
    attempt = run.read_attempt(status.attempt or 1) or {}
    found = attempt.get("git")
    git: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    values: dict[str, Any] = {
        UID_TAG: uid,
        "kladml.status": status.status,
        "kladml.reason": None if status.live else status.why,  # of a live one it is another each second
        "kladml.attempts": status.attempt,
        "kladml.host": attempt.get("host"),
        "kladml.user": attempt.get("user"),
        "kladml.git_sha": git.get("sha"),
        "kladml.git_dirty": str(git["dirty"]).lower() if "dirty" in git else None,
    }
    # A person's own file may be half-written at this moment; then what was sent of it stays.
    with suppress(KladMLError):
        notes = read_notes(run)
        values |= {
            "kladml.tags": ", ".join(notes.tags),
            "kladml.note": notes.note,
            "kladml.star": "yes" if notes.star else None,
        }
    texts = {key: "" if value is None else str(value) for key, value in values.items()}
    return {key: text for key, text in texts.items() if sent.get(key, "") != text}


def files(run: RunDirectory, *, ended: bool) -> Iterator[tuple[str, tuple[int, int]]]:
    """What is stored beside the numbers, below the run's directory, each with its size and time of change (ns).

    The config at once; console, patches of the code and all of artifacts/ once the attempt has ended.
    """
    wanted = [run.config]
    if ended:
        patches = sorted(run.attempts.glob("*/uncommitted.patch"))
        wanted += [run.console_log, *patches, *_below(run.artifacts)]
    for path in wanted:
        try:
            found = path.stat()
        except OSError:
            continue  # not there, or gone meanwhile
        # Anything else than a plain file, a pipe say, might never end.
        if stat.S_ISREG(found.st_mode):
            yield path.relative_to(run.path).as_posix(), (found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Left:
    """What a tracker does not have of a run."""

    records: int
    """Values in the series, those that count no more among them."""
    bytes: int
    """Of these values and of the files."""
    files: tuple[str, ...]
    """Below the run's directory."""
    tags: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.records or self.files or self.tags)


def left(run: RunDirectory, sent: Sent, status: RunStatus, uid: str) -> Left:
    """What has not been sent, by the sizes of the files."""
    values = 0
    for metric in list_metrics(run.metrics):
        try:
            size = (run.metrics / file_name(metric)).stat().st_size
        except OSError:
            continue  # gone since it was listed
        values += max(0, size - size % RECORD_SIZE - sent.offsets.get(metric, 0))
    stored = () if "files" in sent.lacks else files(run, ended=not status.live)
    missing = [(name, size) for name, (size, changed) in stored if sent.files.get(name) != (size, changed)]
    return Left(
        records=values // RECORD_SIZE,
        bytes=values + sum(size for _, size in missing),
        files=tuple(name for name, _ in missing),
        tags=() if "tags" in sent.lacks else tuple(new_tags(run, status, uid, sent.tags)),
    )


def _below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # half-written ones begin so
        found += [Path(parent, name) for name in sorted(names)]
    return found
