"""A run's checkpoints: which are valid, which is newest, which may go. Saving and loading are handed on from here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from kladml_core.runs.checkpoint_list import (
    REPLACED_SUFFIX,
    CheckpointInfo,
    DamagedCheckpoint,
    checkpoint_directories,
    read_hint,
    read_manifest,
    verify,
)
from kladml_core.training.checkpoint_capture import capture, restore, unsupported_reason
from kladml_core.training.checkpoint_content import Content
from kladml_core.training.checkpoint_files import discard, load, save, write_hint
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators

__all__ = [
    "CheckpointInfo",
    "Content",
    "capture",
    "capture_generators",
    "load",
    "newest",
    "read_hint",
    "restore",
    "restore_generators",
    "retire",
    "save",
    "unsupported_reason",
    "valid",
    "verify",
    "write_hint",
]

FEWEST = 2
"""Valid checkpoints that are left at least, once there are so many: one may turn out damaged when it is needed."""


def valid(checkpoints: Path) -> list[CheckpointInfo]:
    """The checkpoints whose manifest and sizes hold, by step. Cheap: hashes are compared by `verify`."""
    found = []
    for path in checkpoint_directories(checkpoints):
        try:
            found.append(read_manifest(path))
        except DamagedCheckpoint:
            continue
    return found


def newest(checkpoints: Path) -> tuple[CheckpointInfo | None, list[tuple[str, str]]]:
    """The newest checkpoint of which every hash holds, and the newer ones that were rejected.

    Returns:
        (the checkpoint or None, [(name, reason)] newest first). The rejects stay where they are.
    """
    rejects: list[tuple[str, str]] = []
    for path in reversed(checkpoint_directories(checkpoints)):
        problem = verify(path)
        if problem is None:
            return read_manifest(path), rejects
        rejects.append((path.name, problem))
    return None, rejects


def retire(
    checkpoints: Path,
    *,
    keep_last: int,
    keep_best: int,
    best: Sequence[str] = (),
    protect: Collection[str] = (),
    rejected: Collection[str] = (),
) -> list[str]:
    """Removes what is no longer needed, after a new checkpoint has been written.

    Kept are the newest `keep_last`, the first `keep_best` of `best` that exist, all of `protect`, all that are damaged,
    and in any case the two newest valid ones.

    Args:
        best: names, best first.
        protect: names that must stay, the one that was resumed from say.
        rejected: names of which a hash did not hold when they were read: they stay and count for nothing.

    Returns:
        The names that were removed, oldest first.
    """
    present = [
        info for info in valid(checkpoints) if not info.name.endswith(REPLACED_SUFFIX) and info.name not in rejected
    ]
    names = [info.name for info in present]
    ranked = [name for name in best if name in names]
    keep = {*names[-max(keep_last, FEWEST) :], *ranked[: max(keep_best, 0)], *protect}
    return [info.name for info in present if info.name not in keep and discard(info.path)]
