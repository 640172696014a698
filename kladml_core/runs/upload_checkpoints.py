"""Which checkpoint is uploaded next, and how its files are held still while retention goes on beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kladml_core.runs.checkpoint_list import (
    MANIFEST,
    REPLACED_SUFFIX,
    CheckpointInfo,
    DamagedCheckpoint,
    checkpoint_directories,
    list_checkpoints,
    read_manifest,
)
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import StoredRun
from kladml_core.runs.upload_files import STAGING, sha256_of, stamp


@dataclass(frozen=True)
class Chosen:
    """The checkpoint that is to be uploaded next."""

    info: CheckpointInfo
    changed: int
    """When its manifest was written, in nanoseconds."""


def committed(run: RunDirectory) -> dict[str, int]:
    """The checkpoints that bear their name, by it, each with when its manifest was written. Opens no file."""
    found = {}
    for path in checkpoint_directories(run.checkpoints):
        if not path.name.endswith(REPLACED_SUFFIX) and (seen := stamp(path / MANIFEST)) is not None:
            found[path.name] = seen[1]
    return found


def missing(run: RunDirectory, stored: StoredRun | None, unfit: Mapping[str, int]) -> list[Chosen]:
    """The valid checkpoints that the storage has not, in the order in which they are uploaded.

    What is held still already comes first, then the newest, the best, and the others from the newest on.

    Args:
        unfit: names of those that are not to be stored, each with when its manifest was written.
    """
    there = {one.name: one.files[MANIFEST].sha256 for one in stored.checkpoints} if stored is not None else {}
    rows = list_checkpoints(run)
    newest, best = ({row.name for row in rows if row.latest}, next((row.name for row in rows if row.best), None))
    held = checkpoint_directories(run.path / STAGING)
    found = []
    for path in (*held, *reversed(checkpoint_directories(run.checkpoints))):
        seen = stamp(path / MANIFEST)
        if path.name.endswith(REPLACED_SUFFIX) or seen is None or unfit.get(path.name) == seen[1]:
            continue
        try:
            if sha256_of(path / MANIFEST) != there.get(path.name):
                found.append(Chosen(read_manifest(path), seen[1]))
        except (DamagedCheckpoint, OSError):
            continue
    begun = [one for one in found if one.info.path.parent.name == STAGING]
    return [*begun, *sorted(found[len(begun) :], key=lambda one: (one.info.name not in newest, one.info.name != best))]


def hold_still(run: RunDirectory, info: CheckpointInfo) -> Path:
    """Gives a checkpoint's files second names, so that it can be uploaded to its end though retention takes it.

    Returns:
        The directory to upload from: the checkpoint's own on a file system without hard links.
    """
    held = run.path / STAGING / info.name
    if info.path == held:
        return held
    half = held.with_name(f".{info.name}.tmp")
    try:
        shutil.rmtree(half, ignore_errors=True)
        shutil.rmtree(held, ignore_errors=True)
        half.mkdir(parents=True)
        for name in (*info.sha256, MANIFEST):
            os.link(info.path / name, half / name, follow_symlinks=False)
        half.rename(held)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        return info.path
    return held


def release(run: RunDirectory, name: str | None = None) -> None:
    """Takes the second names away again; all of them where no checkpoint is named."""
    shutil.rmtree(run.path / STAGING / (name or ""), ignore_errors=True)
