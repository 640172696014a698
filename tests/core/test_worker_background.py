"""Checkpoints in the background and by the clock: training goes on while one is written, and nothing is lost by it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, new_run, work
from tests.core.worker_forks import fork_workers
from tests.waiting import wait_for

BACKGROUND = {"training": {"checkpoint": {"background": True, "every_steps": 5, "every_epochs": None}}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("background"))


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> Ended:
    return work(new_run(workspace), workspace)


def test_a_run_that_saves_in_the_background_is_the_same_run(undisturbed: Ended, workspace: Path) -> None:
    ended = work(new_run(workspace, BACKGROUND), workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    saved = [event["step"] for event in ended.of_kind("checkpoint_saved")]
    best = [event["step"] for event in ended.of_kind("new_best")]
    assert saved == sorted({*range(5, 41, 5), *best})
    assert_same_end(undisturbed, ended)


def test_training_goes_on_while_a_checkpoint_is_written_and_a_stop_waits_for_it(
    undisturbed: Ended, workspace: Path
) -> None:
    run = new_run(workspace, BACKGROUND)
    gate = workspace / "gate"
    hook = {"TEST_HOOK": "tests.core.worker_hooks:slow_saves", "TEST_GATE": str(gate)}
    # The signal comes in step 8, three after the first checkpoint, which waits at the gate.
    stop = {"TEST_AT": "9", "TEST_WHAT": "SIGTERM"}
    with fork_workers(run.path, workspace, environ={**hook, **stop}) as workers:
        wait_for(lambda: (run.read_state() or {}).get("status") == "stopping", 30, "the run did not reach step 8")
        assert not [path for path in run.checkpoints.iterdir() if path.name.startswith("step-")]
        gate.write_text("")
        assert workers.wait() == [143], workers.output
    ended = Ended(run, 143, "")
    assert [event["step"] for event in ended.of_kind("checkpoint_saved")] == [5, 8]
    add_attempt(run)
    assert_same_end(undisturbed, work(run, workspace))


def test_two_ranks_save_in_the_background(workspace: Path) -> None:
    change: dict[str, Any] = {"training": {"batch_size": 2}, "launch": {"processes": 2}}
    plain = work(new_run(workspace, change), workspace, processes=2)
    change["training"] |= BACKGROUND["training"]
    ended = work(new_run(workspace, change), workspace, processes=2)
    assert ended.codes == (0, 0), ended.output
    assert_same_end(plain, ended)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_checkpoint_is_written_when_the_last_one_is_old_enough(workspace: Path, processes: int) -> None:
    policy = {"every_epochs": None, "every_seconds": 0.3}
    training = {"max_epochs": 100_000, "max_time": 3.0, "validate_every": 100_000, "checkpoint": policy}
    run = new_run(workspace, {"training": training, "launch": {"processes": processes}})
    ended = work(run, workspace, processes=processes)
    assert ended.codes == (75,) * processes, ended.output
    times = [event["time"] for event in ended.of_kind("checkpoint_saved")]
    assert 3 <= len(times) <= 11
    assert all(after - before >= 0.29 for before, after in pairwise(times[:-1]))


def test_device_memory_that_is_spent_ends_with_71_and_says_what_to_lower(workspace: Path) -> None:
    ended = work(new_run(workspace), workspace, TEST_AT="15", TEST_WHAT="device memory")
    assert (ended.code, ended.status, ended.terminal["exit_code"]) == (71, "failed", 71), ended.output
    [event] = ended.of_kind("out_of_memory")
    assert "CUDA out of memory" in event["message"]
    assert "batch_size" in event["hint"]
    assert ended.terminal["resumable"] is True


def test_a_worker_that_hangs_ends_with_74_and_its_stacks_are_in_the_console(
    undisturbed: Ended, workspace: Path
) -> None:
    run = new_run(workspace, {"training": {"hang_timeout": 1.0}})
    ended = work(run, workspace, TEST_AT="15", TEST_WHAT="hang")
    assert (ended.code, ended.status, ended.terminal["exit_code"]) == (74, "failed", 74), ended.output
    [event] = ended.of_kind("hang")
    assert event["step"] == 13
    assert "misbehave" in ended.output
    assert ended.terminal["resumable"] is True
    add_attempt(run)
    assert_same_end(undisturbed, work(run, workspace))
