"""Reading events.jsonl: whole lines only, damaged ones skipped, and what the events say about dead branches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TERMINAL_KINDS: Mapping[str, str] = {"run_finished": "finished", "run_failed": "failed", "run_stopped": "stopped"}
"""The kinds that end an attempt, and the status each leaves."""

_CHUNK = 8 << 20
_TAIL = 1 << 18
_HEAD = 1 << 18

Event = dict[str, Any]


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events from a byte offset on.

    A last line without its newline is left for the next call; a line that is no JSON object with a kind
    (torn by a crash, then closed by the next attempt) is skipped.

    Returns:
        the events and the offset to go on from.
    """
    events: list[Event] = []
    try:
        with path.open("rb") as file:
            file.seek(offset)
            rest = b""
            while chunk := file.read(_CHUNK):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                offset += sum(len(line) + 1 for line in lines)
                events.extend(event for line in lines if (event := _parse(line)) is not None)
    except OSError:
        pass  # not there yet, or gone: the next call starts from the same offset
    return events, offset


def last_terminal_event(path: Path, attempt: int) -> Event | None:
    """The terminal event of an attempt, looked for near the end of the file, or None."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):
        event = _parse(line)
        if event is not None and event["kind"] in TERMINAL_KINDS and event.get("attempt") == attempt:
            return event
    return None


def first_event(path: Path, kind: str) -> Event | None:
    """The first event of a kind, looked for near the beginning of the file, or None."""
    try:
        with path.open("rb") as file:
            lines = file.read(_HEAD).split(b"\n")
    except OSError:
        return None
    return next((event for line in lines if (event := _parse(line)) is not None and event["kind"] == kind), None)


def resume_cuts(events: Iterable[Event]) -> dict[str, list[tuple[int, int]]]:
    """Metric to its (offset in bytes, step) cuts, oldest first, from the `resumed` events.

    Before a cut's offset, records with a greater step belong to a branch that the resume gave up.
    """
    cuts: dict[str, list[tuple[int, int]]] = {}
    for event in events:
        offsets, step = event.get("offsets"), event.get("step")
        if event["kind"] != "resumed" or not isinstance(offsets, dict) or not isinstance(step, int):
            continue
        for metric, offset in offsets.items():
            if isinstance(offset, int):
                cuts.setdefault(metric, []).append((offset, step))
    return cuts


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("kind"), str) else None
