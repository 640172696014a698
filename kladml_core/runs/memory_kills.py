"""Whether the kernel's out-of-memory killer struck: its counters, read while a worker lives and again when it is gone.

Linux counts its victims for the whole machine (`oom_kill` in /proc/vmstat) and for each memory group, of which every
process is in one (cgroup v2: memory.events; v1: memory.oom_control). A victim is counted in its own group whichever
limit was hit, so that a group's count that stands still is a proof that it was something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")
_FILES = {"": "memory.events", "memory": "memory.oom_control"}
"""The file that counts, by the controller that /proc/self/cgroup names; empty is cgroup v2."""


def counters() -> dict[str, Any]:
    """The counts as they are now, for state.json: `group_file`, `group`, `machine`; None where there is none."""
    file = _group_file()
    group = None if file is None else _count(Path(file))
    return {"group_file": file, "group": group, "machine": _count(Path("/proc/vmstat"))}


def struck_since(before: object) -> str | None:
    """What the counters of this machine say of the time since `before`, from `counters` of a process of this machine.

    Returns:
        what the killer did; empty where it did not strike that process; None where nobody knows.
    """
    if not isinstance(before, Mapping):
        return None
    file = before.get("group_file")
    group = _grown(before.get("group"), Path(file)) if isinstance(file, str) else None
    if group is not None:
        return f"out-of-memory kills in its memory group: {group}" if group else ""
    machine = _grown(before.get("machine"), Path("/proc/vmstat"))
    if machine is None:
        return None
    return f"out-of-memory kills on the machine: {machine}" if machine else ""


def _grown(before: object, file: Path) -> int | None:
    now = _count(file)
    if now is None or not isinstance(before, int) or isinstance(before, bool) or now < before:
        return None
    return now - before


def _count(file: Path) -> int | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
    except (OSError, ValueError, IndexError):
        return None


@lru_cache(maxsize=1)
def _group_file() -> str | None:
    """The counting file of this process's memory group."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            name = _FILES.get(controller)
            if name is None:
                continue
            root = _CGROUPS / controller
            # Inside a container the path may be the host's, while only the container's own group is mounted.
            for file in (root / path.lstrip("/") / name, root / name):
                if _count(file) is not None:
                    return str(file)
    return None
