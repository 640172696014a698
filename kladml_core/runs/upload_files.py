"""Which files of a run are uploaded, and what uploads.json says of those that have been."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kladml_core.config.secrets import mask
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.rundir import RunDirectory

FILE = "uploads.json"
STAGING = ".uploading.tmp"
"""Where a live run's files are held still while they are uploaded, in the run's directory. Nobody misses it."""

_TEMPORARY = re.compile(r"\..+\.tmp")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Sent:
    """A file that the storage has."""

    key: str
    """Below the run's place in the storage."""
    size: int
    sha256: str
    changed: int
    """When the local file had changed last, in nanoseconds."""
    address: str
    """What the storage calls it."""
    time: float
    """When it was uploaded, in unix seconds."""


@dataclass
class Uploads:
    """What a storage has of a run; written by the upload process alone."""

    target: str
    """The storage and the place in it; for another one all is uploaded anew."""
    uid: str
    files: dict[str, Sent] = field(default_factory=dict)
    """Path below the run's directory → its newest upload."""
    settled: dict[str, int] = field(default_factory=dict)
    """Checkpoints of which nothing is left to do, each with when its manifest was written, in nanoseconds."""
    unwanted: list[str] = field(default_factory=list)
    """Keys that are to be deleted once the manifest no longer names them."""
    manifests: int = 0
    """How often a manifest has been stored."""
    manifest_time: float = 0.0
    """When that was last, in unix seconds."""
    complete: int = 0
    """The attempt of which everything is there, its end too."""
    error: str | None = None
    """Why nothing gets on."""
    error_since: float | None = None
    refused: bool = False
    """Whether trying again is in vain before somebody has done something about it."""

    def fail(self, text: str, *, refused: bool = False) -> None:
        """Notes why nothing gets on."""
        self.error, self.refused = mask(text), refused
        self.error_since = self.error_since or time.time()

    def recover(self) -> None:
        """Notes that it does."""
        self.error, self.error_since, self.refused = None, None, False


def read_uploads(run: RunDirectory, target: str, uid: str) -> Uploads:
    """What is known to be uploaded; nothing where the file is missing, damaged, or tells of another storage or run."""
    found = read_object(run.path / FILE) or {}
    if found.get("target") != target or found.get("uid") != uid:
        return Uploads(target, uid)
    try:
        files = {str(name): Sent(**entry) for name, entry in found["files"].items()}
        own = {key: found[key] for key in Uploads.__dataclass_fields__ if key != "files"}
        return Uploads(**{**own, "files": files, "unwanted": list(map(str, own["unwanted"]))})
    except (KeyError, TypeError, AttributeError):
        return Uploads(target, uid)


def write_uploads(run: RunDirectory, uploads: Uploads) -> None:
    """Replaces uploads.json in one step.

    Raises:
        OSError: it cannot be written; the earlier one is untouched.
    """
    # Not forced to the disk: after a power cut some of it is uploaded again, over what is there.
    write_json(run.path / FILE, {"v": 1, **asdict(uploads)}, durable=False)


def records(run: RunDirectory) -> list[str]:
    """What another machine needs beside a checkpoint to go on with the run as the same; paths below its directory."""
    names = ["run.json", "config.yaml", "state.json", "lost.json", "events.jsonl", "summary.json", "notes.yaml"]
    present = [name for name in (*names, "console.log") if _size(run.path / name) is not None]
    series = [f"metrics/{path.name}" for path in sorted(run.metrics.glob("*.bin"))]
    reached = (run.read_state() or {}).get("attempt")
    # An attempt that is claimed and not begun says nothing yet of the run.
    attempts = [
        path for path in sorted(run.attempts.glob("*")) if path.name.isdigit() and int(path.name) <= (reached or 0)
    ]
    return [*present, *series, *(name for path in attempts for name in _below(run, path))]


def artifacts(run: RunDirectory) -> list[str]:
    """What the model saved, as paths below the run's directory. Symbolic links are left out."""
    return list(_below(run, run.artifacts))


def is_sent(run: RunDirectory, name: str, uploads: Uploads) -> bool:
    """Whether a file was uploaded as it is now."""
    sent = uploads.files.get(name)
    return sent is not None and stamp(run.path / name) == (sent.size, sent.changed)


def stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of change in nanoseconds of a file; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def sha256_of(path: Path, size: int | None = None) -> str | None:
    """The hash of a file, or of its first bytes.

    Args:
        size: how many bytes; all of them where None.

    Returns:
        The hash in hex digits; None where the file is shorter.

    Raises:
        OSError: it cannot be read.
    """
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        if left is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        while left > 0:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                return None
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def copy_of(source: Path, target: Path) -> tuple[int, str]:
    """Copies a file that may be growing; size and hash of what was copied.

    Raises:
        OSError: it cannot be read or written.
    """
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file, target.open("wb") as copy:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            copy.write(chunk)
            size += len(chunk)
            left -= len(chunk)
    return size, digest.hexdigest()


def _below(run: RunDirectory, directory: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not _TEMPORARY.fullmatch(name))
        for name in sorted(names):
            path = Path(folder, name)
            below = path.relative_to(run.path).as_posix()
            # A name that is no text can stand in no manifest.
            if not _TEMPORARY.fullmatch(name) and _size(path) is not None and _is_text(below):
                yield below


def _size(path: Path) -> int | None:
    found = stamp(path)
    return found[0] if found is not None else None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
