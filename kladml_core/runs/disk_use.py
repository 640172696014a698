"""How much of the disk a run takes, and each of its checkpoints: what is really allocated, as `du` counts it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kladml_core.runs.checkpoint_list import checkpoint_directories
from kladml_core.runs.rundir import RunDirectory

_BLOCK = 512
"""What `st_blocks` counts in, whatever the file system's own blocks are (POSIX stat.h)."""


@dataclass(frozen=True)
class RunUse:
    """Bytes on the disk."""

    bytes: int
    """Of the whole run."""
    checkpoints: Mapping[str, int]
    """Of each directory that bears a checkpoint's name, newest first."""


def disk_use(path: Path) -> int:
    """Bytes allocated for a file or for a directory and all below it.

    A file with several names counts once, a symbolic link as itself, and what vanishes meanwhile as nothing.
    """
    seen: set[tuple[int, int]] = set()
    total, waiting = 0, [os.fspath(path)]
    while waiting:
        one = waiting.pop()
        try:
            status = os.lstat(one)
            below = os.listdir(one) if stat.S_ISDIR(status.st_mode) else []
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * _BLOCK
        waiting.extend(os.path.join(one, name) for name in below)
    return total


def run_use(run: RunDirectory) -> RunUse:
    """Bytes allocated for a run and for its checkpoints."""
    checkpoints = {path.name: disk_use(path) for path in reversed(checkpoint_directories(run.checkpoints))}
    return RunUse(disk_use(run.path), checkpoints)
