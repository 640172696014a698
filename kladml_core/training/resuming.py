"""Going on from a checkpoint: finds the newest valid one, and says whether the continuation will be exact."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kladml_core.errors import NothingToResumeError
from kladml_core.training import checkpoints
from kladml_core.training.checkpoints import CheckpointInfo, Content
from kladml_core.training.run_writer import RunWriter

STATE_VERSION = 1


@dataclass(frozen=True)
class Resume:
    """A checkpoint to go on from."""

    info: CheckpointInfo
    content: Content
    rejects: tuple[str, ...] = ()
    """Newer ones that are damaged."""

    @property
    def state(self) -> dict[str, Any]:
        """The trainer's own part of it."""
        return dict(self.content.state["trainer"])


def find_resume(directory: Path, writer: RunWriter) -> Resume:
    """The newest checkpoint whose every hash holds; newer ones that were rejected are told by events.

    Raises:
        NothingToResumeError: none is valid.
    """
    info, rejects = checkpoints.newest(directory)
    for name, reason in rejects:
        writer.event("checkpoint_rejected", name=name, reason=reason)
    if info is None:
        what = f"none of {len(rejects)} checkpoints is valid" if rejects else "there is no checkpoint"
        raise NothingToResumeError(f"{what} in {directory}", hint="launch the config again as a new run")
    content = checkpoints.load(info.path, verified=True)
    if "trainer" not in content.state:
        raise NothingToResumeError(f"{info.name} was not written by this trainer", hint="launch the config again")
    return Resume(info, content, tuple(name for name, _ in rejects))


def surroundings(
    device: torch.device, world_size: int, fingerprints: Mapping[str, str], *, sharded: bool = False
) -> dict[str, Any]:
    """What the bits of a result depend on besides the checkpoint; recorded in each."""
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device.type,
        "processes": f"{world_size} with the model in pieces" if sharded else world_size,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        **{f"{split} data": fingerprint for split, fingerprint in fingerprints.items()},
    }


def inexact_reasons(before: Mapping[str, Any], now: Mapping[str, Any], *, deterministic: bool) -> list[str]:
    """Why a continuation cannot be promised to be bit-identical; empty when it can."""
    reasons = [
        f"{name} was {before.get(name)} and is {value}" for name, value in now.items() if before.get(name) != value
    ]
    if now["device"] == "xla":
        reasons.append("a TPU's random generator is in no checkpoint")
    elif now["device"] != "cpu" and not deterministic:
        reasons.append(f"training.deterministic is off, and {now['device']} may add in another order")
    return reasons
