"""What the tests of faults share: a model that waits for the test, and the processes of a run or a session."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kladml_core.runs.rundir import RunDirectory

GATED = '''
import time
from pathlib import Path

from kladml_core.examples.digits import DigitsCNN


class Gated(DigitsCNN):
    """Writes how many steps it has begun into the file `steps`, and waits after a few until the file `go` exists."""

    begun = 0

    def training_step(self, module, batch):
        Gated.begun += 1  # the preflight's first one included
        Path("steps").write_text(str(Gated.begun))
        while Gated.begun > 10 and not Path("go").exists():
            time.sleep(0.01)
        return super().training_step(module, batch)
'''


def gated_target(workspace: Path) -> str:
    """Writes the model above into the workspace; returns what a config names it by."""
    (workspace / "gated.py").write_text(GATED)
    return "gated:Gated"


def processes_of(run: RunDirectory) -> list[int]:
    """Every living process that has the run's directory among its arguments: launcher, ranks and their children."""
    word = os.fsencode(run.path)
    return [pid for pid in _pids() if word in _read(f"/proc/{pid}/cmdline").split(b"\0")]


def session_of(leader: int) -> list[int]:
    """Every living process of a session."""
    return [pid for pid in _pids() if _session(pid) == leader]


def send(pids: list[int], number: signal.Signals) -> None:
    """Sends a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _session(pid: int) -> int:
    stat = _read(f"/proc/{pid}/stat")
    fields = stat[stat.rfind(b")") + 2 :].split()
    return int(fields[3]) if fields and fields[0] != b"Z" else -1


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of its own at a folder; yields what mounts it anew with other options (`ro`, `size=8m`).

    Skips the test where nothing can be mounted.
    """
    place.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]).returncode:
        pytest.skip("a file system cannot be mounted here: it takes root")
    try:
        yield lambda options: subprocess.run([mount, "-o", f"remount,{options}", place], check=True) and None
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Takes all of the space of a small file system but `leave` bytes; returns the file that holds it."""
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with hog.open("r+b") as file:
        file.truncate(max(0, hog.stat().st_size - leave))
    return hog
