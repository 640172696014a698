"""Why a worker is gone: facts that the kernel counted or the worker printed, and no guesses beyond them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.causes import cause_of_death
from kladml_core.runs.files import write_json
from kladml_core.runs.memory_kills import counters, struck_since
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status, reconcile
from tests.core.trainer_workspace import make_workspace, new_run, work

EATER = '''
import os

import models

GROUP = os.environ.get("TEST_GROUP")
if GROUP:
    with open(f"{GROUP}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))


class Eater(models.Net):
    """Dies at its fifth step, of what the test wants."""

    calls = 0

    def training_step(self, module, batch):
        self.calls += 1
        if self.calls == 5 and GROUP:
            self.eaten = bytearray(1 << 33)
            for place in range(0, 1 << 33, 4096):
                self.eaten[place] = 1
        elif self.calls == 5:
            import ctypes

            ctypes.string_at(0)
        return super().training_step(module, batch)


def enter():
    """Called before the worker begins, so that it counts the kills of that group."""
'''


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path, "p", "f", "e", seed=0)
    run.claim_attempt()
    return run


def state_of_the_dead(**more: Any) -> dict[str, Any]:
    gone = {**identity().to_json(), "pid": 2**22 + 1}
    return {"v": 1, "status": "running", "attempt": 1, "heartbeat": time.time(), **gone, **more}


def counted(tmp_path: Path, before: int, now: int) -> dict[str, Any]:
    """A memory group that had so many kills at the last heartbeat, and has so many now."""
    file = tmp_path / "memory.events"
    file.write_text(f"low 0\nhigh 0\nmax 12\noom 3\noom_kill {now}\n")
    return {"group_file": str(file), "group": before, "machine": 0}


def test_lack_of_memory_is_told_where_the_kernel_counted_it(run: RunDirectory, tmp_path: Path) -> None:
    write_json(run.state_json, state_of_the_dead(memory_kills=counted(tmp_path, 1, 3)))
    status = reconcile(run)
    assert (status.status, status.exit_code) == ("lost", 137)
    assert "was killed for lack of memory (out-of-memory kills in its memory group: 2" in str(status.reason)


def test_a_count_that_stands_still_proves_that_memory_did_not_lack(run: RunDirectory, tmp_path: Path) -> None:
    write_json(run.state_json, state_of_the_dead(memory_kills=counted(tmp_path, 3, 3)))
    assert "not for lack of memory" in str(read_status(run).reason)


def test_where_nothing_is_counted_nothing_is_claimed(run: RunDirectory, tmp_path: Path) -> None:
    write_json(run.state_json, state_of_the_dead())
    assert "killed, or the machine ran out of memory" in str(read_status(run).reason)
    assert struck_since({"group_file": str(tmp_path / "gone"), "group": 1, "machine": None}) is None
    assert struck_since("nonsense") is None


def test_a_count_of_the_machine_serves_where_the_group_is_gone(tmp_path: Path) -> None:
    now = counters()
    if not isinstance(now["machine"], int):
        pytest.skip("this system counts no kills")
    gone = {"group_file": str(tmp_path / "gone"), "group": 1, "machine": now["machine"]}
    assert struck_since(gone) == ""
    assert struck_since({**gone, "machine": now["machine"] - 1}) == "out-of-memory kills on the machine: 1"


def test_a_new_start_of_the_machine_is_told(run: RunDirectory) -> None:
    assert "started anew" in cause_of_death(run, state_of_the_dead(boot_id="another"))


def test_a_worker_that_never_began_is_told_by_its_last_words(run: RunDirectory) -> None:
    run.console_log.write_text("ImportError: of the attempt before\n")
    offset = run.console_log.stat().st_size
    silent = state_of_the_dead(status="starting", console=offset)
    assert cause_of_death(run, silent) == "the worker ended before it began"
    with run.console_log.open("a") as file:
        file.write(
            "[rank 1] Traceback (most recent call last):\n[rank 1] ModuleNotFoundError: No module named 'x'\n=====\n"
        )
    assert cause_of_death(run, silent) == "the worker ended before it began: ModuleNotFoundError: No module named 'x'"


def test_a_finding_about_an_earlier_attempt_is_no_reason_for_this_ones_end(run: RunDirectory) -> None:
    write_json(run.lost_json, {"attempt": 1, "by": {}, "cause": "of long ago"})
    run.claim_attempt()
    write_json(run.state_json, state_of_the_dead(attempt=2))
    assert "of long ago" not in str(read_status(run).reason)


def test_a_crash_of_native_code_is_told_by_its_name(tmp_path: Path) -> None:
    place = make_workspace(tmp_path / "w")
    (place / "eater.py").write_text(EATER)
    run = new_run(place, {"model": {"target": "eater:Eater"}})
    ended = work(run, place)
    assert ended.code == -signal.SIGSEGV
    run.console_log.write_text(ended.output)
    status = reconcile(run)
    assert status.status == "lost"
    assert "crashed: Segmentation fault" in str(status.reason)


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory group of 1 GB, where this user may make one."""
    own = counters()["group_file"]
    if own is None or os.geteuid() != 0:
        pytest.skip("no memory group can be made here")
    group = Path(own).parent / f"kladml-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = "memory.max" if own.endswith("memory.events") else "memory.limit_in_bytes"
        (group / limit).write_text(str(1 << 30))
    except OSError as error:
        pytest.skip(f"no memory group can be made here: {error}")
    yield group
    group.rmdir()


def test_a_worker_that_the_kernel_kills_for_memory_is_told_so(tmp_path: Path, memory_group: Path) -> None:
    place = make_workspace(tmp_path / "w")
    (place / "eater.py").write_text(EATER)
    run = new_run(place, {"model": {"target": "eater:Eater"}})
    ended = work(run, place, TEST_HOOK="eater:enter", TEST_GROUP=str(memory_group))
    assert ended.code == -signal.SIGKILL
    assert "was killed for lack of memory (out-of-memory kills in its memory group: 1" in str(reconcile(run).reason)


def test_what_earlier_attempts_took_counts_in_the_whole(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.status("running", started=time.time() - 100)
    log.status("stopped", exit_code=75)
    log.close()
    first = read_status(run)
    assert first.total_seconds == first.seconds == pytest.approx(100, abs=10)
    run.claim_attempt()
    log = RunLog(run, 2)
    log.status("running", started=time.time() - 50)
    log.close()
    second = read_status(run)
    assert second.seconds == pytest.approx(50, abs=10)
    assert second.total_seconds == pytest.approx(150, abs=20)
    write_json(run.state_json, {**(run.read_state() or {}), "earlier_seconds": None})
    assert read_status(run).total_seconds == pytest.approx(50, abs=20), "of a run that never recorded it, what is known"
