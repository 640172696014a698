"""Fingerprints of data files: what they cover, and which of them need not be computed again because nothing changed.

    sha256:…            every byte; of files up to WHOLE_BYTES
    sha256-sampled:…    the size and evenly spaced blocks; of larger files, so that a terabyte takes a second

A fingerprint is remembered in the user's cache directory under the file's path, size, inode and times of change. As in
git's index, one that was computed just after the file changed is not remembered: the file may change once more without
its times telling.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, write_json
from kladml_core.user_folders import user_folder

WHOLE_BYTES = 1 << 30
"""Up to this size everything is hashed (about a second); of more, evenly spaced blocks."""
BLOCK = 1 << 20
BLOCKS = 256
WHOLE, SAMPLED, DESCRIBED = "sha256", "sha256-sampled", "sha256-described"
_SETTLED_SECONDS = 2.0
"""How old a change must be for the times of a file to tell the next one apart from it."""
_REMEMBERED = 2000
_FILE = "fingerprints.json"


@dataclass(frozen=True)
class FileFingerprint:
    """A fingerprint and how it was found."""

    text: str
    """The prefix says what it covers."""
    bytes: int
    """Size of the file."""
    read: bool
    """False where size and times of the file were those of an earlier look, and nothing was read."""

    @property
    def how(self) -> str:
        """In words."""
        if not self.read:
            return "size and time as when it was read last"
        return "every byte read" if self.text.startswith(f"{WHOLE}:") else f"{BLOCKS} blocks of 1 MiB read"


def fingerprint(path: Path) -> FileFingerprint:
    """The fingerprint of a file; it is read only where its size or times are others than when it was read last.

    Raises:
        UnusableError: the file cannot be read.
    """
    try:
        found = path.stat()
        stamp = _stamp(found)
        memory = read_object(user_folder("CACHE") / _FILE) or {}
        known = memory.get(str(path))
        if isinstance(known, dict) and known.get("stamp") == stamp and isinstance(known.get("text"), str):
            return FileFingerprint(known["text"], found.st_size, False)
        text = read_fingerprint(path)
        after = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if _stamp(after) == stamp and time.time() - max(after.st_mtime, after.st_ctime) > _SETTLED_SECONDS:
        _remember(memory, str(path), {"stamp": stamp, "text": text, "time": time.time()})
    return FileFingerprint(text, found.st_size, True)


def read_fingerprint(path: Path) -> str:
    """The fingerprint of a file, read now.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        return read_whole(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in block_starts(size):
            file.seek(start)
            digest.update(file.read(BLOCK))
    return f"{SAMPLED}:{digest.hexdigest()}"


def read_whole(path: Path) -> str:
    """The hash of every byte of a file of any size.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return f"{WHOLE}:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def describe_target(target: str, params: Mapping[str, Any], split: str | None) -> str:
    """A fingerprint of how a target is called; what it gives, only the worker sees."""
    from kladml_core.runs.files import strict_dumps

    text = strict_dumps([target, dict(sorted(params.items())), split])
    return f"{DESCRIBED}:{hashlib.sha256(text.encode()).hexdigest()}"


def block_starts(size: int) -> list[int]:
    """Where the evenly spaced blocks begin of so many bytes."""
    last = size - BLOCK
    return [last * index // (BLOCKS - 1) for index in range(BLOCKS)]


def short(text: str | None) -> str:
    """A fingerprint as it is shown where there is little room: its prefix and twelve digits."""
    if not text:
        return ""
    kind, _, digits = text.partition(":")
    return f"{kind}:{digits[:12]}" if digits else text


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _remember(memory: dict[str, Any], path: str, entry: dict[str, Any]) -> None:
    memory[path] = entry
    if len(memory) > _REMEMBERED:
        oldest = sorted(memory, key=lambda name: _time(memory[name]))[: len(memory) - _REMEMBERED]
        for name in oldest:
            del memory[name]
    # Without it the file is read again the next time; that is all there is to lose.
    with suppress(OSError):
        user_folder("CACHE").mkdir(parents=True, exist_ok=True)
        write_json(user_folder("CACHE") / _FILE, memory, durable=False)


def _time(entry: Any) -> float:
    value = entry.get("time") if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _unreadable(path: Path, error: OSError) -> UnusableError:
    return UnusableError(f"{path} cannot be read: {error.strerror or error}")
