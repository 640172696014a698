"""A process that is killed at any moment of writing a checkpoint leaves the earlier ones valid and resumable.

The same with the real worker, and the resume: proof 4, in test_worker_kills.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kladml_core.training.checkpoints import newest, save, valid
from tests.core.test_checkpoint_files import content

# The child saves step 1 and 2, then kills itself in its k-th call of what changes the disk while it saves again.
CHILD = """
import builtins, os, pathlib, shutil, signal, sys, tempfile
from kladml_core.training.checkpoints import retire, save
from tests.core.test_checkpoint_files import content

directory, step, fatal = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
calls = 0

def deadly(module, name):
    real = getattr(module, name)
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(module, name, call)

def write(step, seed):
    save(directory, content(seed), step=step, epoch=0, metrics={}, world_size=1, config_hash="", best=True)

write(1, 1)
write(2, 2)
for module, names in ((os, ("fsync", "rename", "replace", "unlink", "rmdir", "chmod")), (tempfile, ("mkdtemp",)),
                      (builtins, ("open",))):
    for name in names:
        deadly(module, name)
write(step, 50)
retire(directory, keep_last=2, keep_best=1, best=["step-%010d" % step])
print(calls)
"""


def child(directory: Path, step: int, fatal: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(directory), str(step), str(fatal)],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def fork_and_kill(directory: Path, step: int, fatal: int) -> int:
    """As `child` in a fork of this process: starting Python with torch anew for each call would take seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.argv = ["child", str(directory), str(step), str(fatal)]
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 1)
                exec(CHILD, {"__name__": "child"})
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("step", [2, 3], ids=["the same step again", "the next step"])
def test_killed_at_every_call_that_touches_the_disk(step: int, tmp_path: Path) -> None:
    counted = child(tmp_path / "whole", step, 0)
    assert counted.returncode == 0, counted.stderr
    calls = int(counted.stdout)
    assert calls > 15, "the stages of writing are all counted"
    for fatal in range(1, calls + 1):
        directory = tmp_path / f"killed-{fatal}"
        status = fork_and_kill(directory, step, fatal)
        assert os.WIFSIGNALED(status), f"call {fatal} of {calls} was not reached"
        assert os.WTERMSIG(status) == signal.SIGKILL
        found, rejects = newest(directory)
        assert found is not None
        assert rejects == [], f"call {fatal} left a half-written checkpoint under a real name"
        assert found.step in (2, step)
        assert len(valid(directory)) >= 2, f"call {fatal} left fewer valid checkpoints than before"

        save(directory, content(4), step=4, epoch=0, metrics={}, world_size=1, config_hash="", best=False)
        assert [name for name in os.listdir(directory) if name.startswith(".step") or "replaced" in name] == []
        assert len(valid(directory)) >= 3


def test_a_real_process_killed_while_it_writes(tmp_path: Path) -> None:
    died = child(tmp_path, 3, 5)
    assert died.returncode == -signal.SIGKILL
    found, rejects = newest(tmp_path)
    assert found is not None
    assert (found.step, rejects) == (2, [])
