"""Which runs of a workspace live on this host, looked up again and again at little cost: an end is read once."""

from __future__ import annotations

import os
from pathlib import Path

from kladml_core.runs.processes import host_name
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status


class LiveRuns:
    """Remembers which states it has seen at an end.

    Args:
        data: the workspace's data directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._ended: dict[Path, tuple[int, int]] = {}

    def runs(self) -> set[str]:
        """References of the runs with a worker, by whomever they were started; those that wait are not among them."""
        found = set()
        for path in all_runs(self._data):
            run = RunDirectory(path)
            try:
                seen = os.stat(run.state_json)
            except OSError:
                continue
            stamp = (seen.st_mtime_ns, seen.st_ino)
            if self._ended.get(path) == stamp:
                continue
            status = read_status(run)
            if not status.live:
                self._ended[path] = stamp
            elif status.status != "queued" and status.host == host_name():
                found.add(run.reference)
        return found

    def starting(self, reference: str) -> bool:
        """Whether a run has not come to training yet."""
        return read_status(RunDirectory(self._data / "projects" / reference)).status == "starting"
