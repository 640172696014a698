"""What the index keeps of one run directory, read from its small files alone; quick, for there may be very many."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.config.load import read
from kladml_core.errors import KladMLError
from kladml_core.runs.files import number
from kladml_core.runs.notes import Notes, notes_in
from kladml_core.runs.ref import RUN_NAME
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus, status_from
from kladml_core.workspace.plain_config import Param, params_of

Metric = tuple[str, float, int, float | None, int | None, float | None, int | None, int, int]
"""name, last, last_step, min, min_step, max, max_step, count, non_finite."""

SETTLED_NS = 2_000_000_000
"""A file that was changed less than this ago may change again without another time stamp: network file systems count
in seconds."""
_USUAL_BYTES = 1 << 14
MAX_BYTES = 8 << 20
"""A larger file than this is none of ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a run."""

    reference: str
    uid: str | None
    status: RunStatus
    metrics: tuple[Metric, ...]
    params: tuple[Param, ...]
    notes: Notes
    problem: str
    """Which of its files cannot be read, and why."""
    changed: float
    """When its state was last written, unix seconds; 0 where there is none."""
    stamp: str
    """See `stamp_of`."""


def stamp_of(path: str) -> str:
    """What changes when a run does: its files are replaced, which its directory's time tells; state.json is written
    over in place on a full disk, and a person's editor may do so with notes.yaml.

    A directory's first seconds have no stamp that could be trusted: they give another one each time.
    """
    return _stamp([_seen(path), _seen(f"{path}/state.json"), _seen(f"{path}/notes.yaml")])


def _seen(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _stamp(seen: Sequence[os.stat_result | None]) -> str:
    words = ["-" if one is None else f"{one.st_mtime_ns}.{one.st_size}.{one.st_ino}" for one in seen]
    if time.time_ns() - max((one.st_mtime_ns for one in seen if one is not None), default=0) < SETTLED_NS:
        words.append(str(time.monotonic_ns()))
    return " ".join(words)


def read_entry(path: str, reference: str) -> Entry:
    """Reads a run; whatever is damaged in it is told in its status or its `problem`."""
    seen = _seen(path), _seen(f"{path}/state.json"), _seen(f"{path}/notes.yaml")
    stamp = _stamp(seen)
    directory, state_seen, notes_seen = seen
    problems: list[str] = []
    run = RunDirectory(Path(path))
    is_directory = directory is not None and stat.S_ISDIR(directory.st_mode)
    identity = _object(path, "run.json", problems) if is_directory else None
    state = _object(path, "state.json", problems) if is_directory else None
    status = status_from(run, identity, state)
    if not is_directory or not RUN_NAME.fullmatch(run.path.name):
        return Entry(reference, None, status, (), (), Notes(), status.damaged or "", 0.0, stamp)
    summary = _object(path, "summary.json", problems) or {}
    uid = (identity or {}).get("uid")
    return Entry(
        reference,
        uid if isinstance(uid, str) else None,
        status,
        _metrics(summary, problems),
        _params(path, problems),
        Notes() if notes_seen is None else _notes(run, problems),
        "; ".join(problems),
        0.0 if state_seen is None else state_seen.st_mtime,
        stamp,
    )


def _bytes(path: str, name: str, problems: list[str]) -> bytes | None:
    try:
        descriptor = os.open(f"{path}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(f"{name} cannot be read: {error.strerror}")
        return None
    try:
        data = os.read(descriptor, _USUAL_BYTES)
        if len(data) == _USUAL_BYTES:
            while len(data) <= MAX_BYTES and (chunk := os.read(descriptor, 1 << 20)):
                data += chunk
        return data
    except OSError as error:
        problems.append(f"{name} cannot be read: {error.strerror}")
        return None
    finally:
        os.close(descriptor)


def _object(path: str, name: str, problems: list[str]) -> dict[str, Any] | None:
    data = _bytes(path, name, problems)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        problems.append(f"{name} is no JSON")
        return None
    if not isinstance(found, dict):
        problems.append(f"{name} is no JSON object")
        return None
    return found


def _metrics(summary: Mapping[str, Any], problems: list[str]) -> tuple[Metric, ...]:
    found: list[Metric] = []
    damaged = 0
    for name, entry in summary.items():
        try:
            last, least, greatest = entry["last"], entry["min"], entry["max"]
            found.append(
                (
                    name,
                    last if type(last) is float else number(last),
                    int(entry["last_step"]),
                    least if least is None or type(least) is float else number(least),
                    _step(entry["min_step"]),
                    greatest if greatest is None or type(greatest) is float else number(greatest),
                    _step(entry["max_step"]),
                    int(entry["count"]),
                    int(entry["non_finite"]),
                )
            )
        except (KeyError, TypeError, ValueError):
            damaged += 1
    if damaged:
        problems.append(f"summary.json: {damaged} of {len(summary)} metrics are damaged")
    return tuple(found)


def _step(value: Any) -> int | None:
    return None if value is None else int(value)


def _params(path: str, problems: list[str]) -> tuple[Param, ...]:
    data = _bytes(path, "config.yaml", problems)
    if data is None:
        return ()
    try:
        return params_of(data, f"{path}/config.yaml")
    except KladMLError as error:
        problems.append(f"config.yaml is damaged: {error.message}")
        return ()


def _notes(run: RunDirectory, problems: list[str]) -> Notes:
    try:
        return notes_in(read(run.notes, empty_ok=True).data)
    except KladMLError as error:
        problems.append(f"notes.yaml is damaged: {error.message}")
        return Notes()
