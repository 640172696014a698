"""What can be known of a run's checkpoints without loading a tensor: manifests, sizes, hints. No torch, no numpy."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kladml_core.runs.files import number, read_object, strict_dumps
from kladml_core.runs.pins import read_pins
from kladml_core.runs.rundir import RunDirectory

MANIFEST = "MANIFEST.json"
CHECKPOINT_NAME = re.compile(r"step-(\d{10,})")
REPLACED_SUFFIX = ".replaced"
"""Ends the name of a valid checkpoint for the moment in which a newer one of the same step takes its name."""


class DamagedCheckpoint(Exception):
    """Why a directory is not a checkpoint that can be trusted; the message is a sentence for a person."""


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint as its manifest describes it."""

    name: str
    path: Path
    step: int
    epoch: int
    bytes: int
    """Size of all files together."""
    seconds: float
    """How long writing took; 0 where only the manifest is known."""
    metrics: Mapping[str, float]
    time: float
    """When it was written, in seconds since 1970."""
    best: bool
    """Whether it was the best so far when it was written."""
    world_size: int
    config_hash: str
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    """The hash of each file."""


@dataclass(frozen=True)
class CheckpointRow:
    """A line in a list of checkpoints; a damaged one has what could be read of it."""

    name: str
    step: int
    epoch: int
    bytes: int
    time: float
    metrics: Mapping[str, float]
    best: bool
    latest: bool
    valid: bool
    """The manifest and all sizes hold; hashes are compared when it is loaded."""
    problem: str = ""
    """Why it is not valid."""
    pinned: bool = False
    """Whether a person said that it is to stay."""


def seal(manifest: Mapping[str, Any]) -> bytes:
    """The text of MANIFEST.json: the manifest and, so that a flipped bit in it shows, a hash of its own text."""
    body = strict_dumps(manifest, indent=1)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return (strict_dumps({**manifest, "sha256": digest}, indent=1) + "\n").encode()


def read_manifest(path: Path) -> CheckpointInfo:
    """Reads a checkpoint's manifest and compares the sizes of its files. Cheap: no file is opened but the manifest.

    Raises:
        DamagedCheckpoint: with the reason.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise DamagedCheckpoint(f"{MANIFEST} is missing") from None
    except OSError as error:
        raise DamagedCheckpoint(f"{MANIFEST} cannot be read: {error.strerror}") from None
    try:
        manifest = json.loads(raw)
        del manifest["sha256"]
        if seal(manifest) != raw:
            raise ValueError
        info = CheckpointInfo(
            name=path.name,
            path=path,
            step=int(manifest["step"]),
            epoch=int(manifest["epoch"]),
            bytes=len(raw) + sum(int(entry["size"]) for entry in manifest["files"].values()),
            seconds=0.0,
            metrics={str(name): number(value) for name, value in manifest["metrics"].items()},
            time=number(manifest["time"]),
            best=bool(manifest["best"]),
            world_size=int(manifest["world_size"]),
            config_hash=str(manifest["config_hash"]),
            versions={str(name): str(value) for name, value in manifest["versions"].items()},
            sha256={str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedCheckpoint(f"{MANIFEST} is damaged") from None
    for name, entry in manifest["files"].items():
        try:
            size = (path / name).stat().st_size
        except OSError:
            raise DamagedCheckpoint(f"{name} is missing") from None
        if size != entry["size"]:
            raise DamagedCheckpoint(f"{name} has {size} bytes instead of {entry['size']}")
    return info


def verify(path: Path) -> str | None:
    """Why a checkpoint must not be loaded, or None: manifest, sizes and the hash of every file. Reads all of it."""
    try:
        info = read_manifest(path)
        for name, digest in info.sha256.items():
            with open(path / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{name} has changed since it was written"
    except DamagedCheckpoint as damage:
        return str(damage)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None


def checkpoint_directories(checkpoints: Path) -> list[Path]:
    """The directories that bear a checkpoint's name, valid or not, by step."""
    try:
        paths = list(checkpoints.iterdir())
    except OSError:
        return []
    named = [path for path in paths if CHECKPOINT_NAME.fullmatch(path.name.removesuffix(REPLACED_SUFFIX))]
    return sorted(named, key=lambda path: (_step(path), not path.name.endswith(REPLACED_SUFFIX)))


def read_hint(checkpoints: Path, which: str) -> str | None:
    """The name that latest.json or best.json gives, or None. A hint only: it may name what is gone."""
    name = (read_object(checkpoints / f"{which}.json") or {}).get("name")
    return name if isinstance(name, str) and CHECKPOINT_NAME.fullmatch(name) else None


def list_checkpoints(run: RunDirectory) -> list[CheckpointRow]:
    """The checkpoints of a run, newest first; none where there is no directory. Reads the manifests on each call."""
    rows: list[CheckpointInfo | tuple[Path, str]] = []
    for path in checkpoint_directories(run.checkpoints):
        try:
            rows.append(read_manifest(path))
        except DamagedCheckpoint as damage:
            # One that was retired between the listing and the reading is not damaged but gone.
            if path.exists():
                rows.append((path, str(damage)))
    valid = [row for row in rows if isinstance(row, CheckpointInfo)]
    latest = valid[-1].name if valid else None
    best = read_hint(run.checkpoints, "best")
    if best not in {row.name for row in valid}:
        best = next((row.name for row in reversed(valid) if row.best), None)
    pinned = read_pins(run) or frozenset()
    return [_row(row, best=best, latest=latest, pinned=pinned) for row in reversed(rows)]


def _row(
    row: CheckpointInfo | tuple[Path, str], *, best: str | None, latest: str | None, pinned: frozenset[str]
) -> CheckpointRow:
    if isinstance(row, CheckpointInfo):
        return CheckpointRow(
            row.name,
            row.step,
            row.epoch,
            row.bytes,
            row.time,
            row.metrics,
            best=row.name == best,
            latest=row.name == latest,
            valid=True,
            pinned=row.name in pinned,
        )
    path, problem = row
    size, time = _size_and_time(path)
    is_pinned = path.name in pinned
    return CheckpointRow(path.name, _step(path), 0, size, time, {}, False, False, False, problem, is_pinned)


def _step(path: Path) -> int:
    return int(path.name.removesuffix(REPLACED_SUFFIX).removeprefix("step-"))


def _size_and_time(path: Path) -> tuple[int, float]:
    try:
        return sum(file.stat().st_size for file in path.iterdir()), path.stat().st_mtime
    except OSError:
        return 0, 0.0
