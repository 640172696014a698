"""Proof 4. SIGKILL inside every stage of writing a checkpoint, and at random times: the resume ends bit for bit as a
run that was never disturbed, and no temporary is left behind.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.checkpoints import valid
from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, new_run, work
from tests.core.worker_forks import fork_workers
from tests.waiting import wait_for

FATAL = "tests.core.worker_hooks:fatal_disk_call"
BACKGROUND = {"training": {"checkpoint": {"background": True, "every_steps": 4}}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> Ended:
    ended = work(new_run(workspace), workspace)
    assert ended.code == 0, ended.output
    return ended


def leftovers(run: RunDirectory) -> list[str]:
    names = sorted(path.name for folder in (run.path, run.checkpoints) for path in folder.iterdir())
    return [name for name in names if name.startswith(".") or name.endswith((".tmp", ".replaced"))]


def resumed(run: RunDirectory, workspace: Path) -> Ended:
    add_attempt(run)
    ended = work(run, workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert leftovers(run) == []
    assert ended.of_kind("checkpoint_rejected") == []
    return ended


@pytest.fixture(scope="module")
def stages(workspace: Path) -> int:
    counted = work(new_run(workspace), workspace, TEST_HOOK=FATAL, TEST_FATAL="3:0")
    [line] = [line for line in counted.output.splitlines() if line.endswith(" calls")]
    assert int(line.split()[0]) > 10, counted.output
    return int(line.split()[0])


def kill_in(stage: int, undisturbed: Ended, workspace: Path, change: dict[str, object] | None = None) -> None:
    run = new_run(workspace, change)
    killed = work(run, workspace, TEST_HOOK=FATAL, TEST_FATAL=f"3:{stage}")
    assert killed.code == -signal.SIGKILL, f"stage {stage} was not reached"
    assert len(valid(run.checkpoints)) >= 2, "there were two valid checkpoints before"
    ended = resumed(run, workspace)
    assert_same_end(undisturbed, ended)


def test_killed_in_every_stage_of_the_third_checkpoint(undisturbed: Ended, workspace: Path, stages: int) -> None:
    for stage in range(1, stages + 1):
        kill_in(stage, undisturbed, workspace)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_in_every_stage_of_a_checkpoint_in_the_background(
    undisturbed: Ended, workspace: Path, stages: int
) -> None:
    for stage in range(1, stages + 1):
        kill_in(stage, undisturbed, workspace, BACKGROUND)


def kill_at_random(seed: int, times: int, undisturbed: Ended, workspace: Path, *, background: bool) -> None:
    chance = random.Random(seed)
    run = new_run(workspace, BACKGROUND if background else {"training": {"checkpoint": {"every_steps": 4}}})
    for number in range(times):
        if number:
            add_attempt(run)
        with fork_workers(run.path, workspace) as workers:
            # Without a checkpoint there is nothing to resume; from then on any moment will do.
            wait_for(lambda: valid(run.checkpoints), 30, "no checkpoint was written")
            time.sleep(chance.uniform(0.0, 0.5 if number else 0.1))  # the moment itself is what is drawn
            with suppress(ProcessLookupError):  # it may have ended by itself before
                os.kill(workers.pids[0], signal.SIGKILL)
            if workers.wait() == [0]:
                break
    ended = resumed(run, workspace)
    assert_same_end(undisturbed, ended)


@pytest.mark.parametrize("background", [False, True], ids=["at the step", "in the background"])
def test_killed_at_random_times(undisturbed: Ended, workspace: Path, background: bool) -> None:
    kill_at_random(1, 4, undisturbed, workspace, background=background)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("background", [False, True], ids=["at the step", "in the background"])
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_many_random_times(undisturbed: Ended, workspace: Path, seed: int, background: bool) -> None:
    kill_at_random(100 + seed, 8, undisturbed, workspace, background=background)
