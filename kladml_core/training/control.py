"""Requests to a live run: files in its control folder that name the attempt they are meant for."""

from __future__ import annotations

from pathlib import Path

from kladml_core.runs.files import read_object

STOP = "stop"
CHECKPOINT = "checkpoint"


def pending(control: Path, kind: str, attempt: int) -> dict[str, object] | None:
    """A request of this kind for this attempt, or None."""
    request = read_object(control / f"{kind}.json")
    return request if request is not None and request.get("attempt") == attempt else None


def remove(control: Path, kind: str) -> None:
    """Takes an honoured request away."""
    (control / f"{kind}.json").unlink(missing_ok=True)


def remove_stale(control: Path, attempt: int) -> None:
    """Takes away what was asked of earlier attempts, and files that nobody can read."""
    for kind in (STOP, CHECKPOINT):
        if pending(control, kind, attempt) is None:
            try:
                remove(control, kind)
            except OSError:
                pass  # a read-only folder: a stale request names another attempt and is never honoured anyway
