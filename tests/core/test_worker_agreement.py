"""Proof 7. A signal to one rank only, a rank that raises, a rank that is killed, a rank that hangs: all ranks stop at
the same step or fail promptly, never wait for ever, and the run's status says how it ended.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from kladml_core.runs.status import reconcile
from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, new_run, work

CHANGE = {"training": {"max_epochs": 3, "batch_size": 2}, "launch": {"processes": 2}}
PROMPT = 20.0
"""Seconds, on a machine that is busy; torch's own patience would be thirty minutes."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("agreement"))


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> Ended:
    ended = work(new_run(workspace, CHANGE), workspace, processes=2)
    assert ended.codes == (0, 0), ended.output
    return ended


def struck(
    workspace: Path, rank: int, what: str, at: int = 16, processes: int = 2, samples: int = 50, **training: object
) -> Ended:
    """A run in which one rank alone is struck inside its step `at` - 1 (preflight is the first call)."""
    data = {"target": "models:load", "params": {"samples": samples}}
    run = new_run(workspace, {**CHANGE, "data": data, "training": {**CHANGE["training"], **training}})
    began = time.monotonic()
    ended = work(run, workspace, processes=processes, TEST_AT=str(at), TEST_WHAT=what, TEST_RANK=str(rank))
    assert time.monotonic() - began < PROMPT
    return ended


def resumed(ended: Ended, workspace: Path, processes: int = 2) -> Ended:
    add_attempt(ended.run)
    after = work(ended.run, workspace, processes=processes)
    assert after.codes == (0,) * processes, after.output
    assert after.of_kind("resumed")[0]["exact"] is True
    return after


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_to_one_rank_stops_all_at_one_step(undisturbed: Ended, workspace: Path, name: str, rank: int) -> None:
    ended = struck(workspace, rank, name)
    code = 128 + signal.Signals[name]
    assert ended.codes == (code, code), ended.output
    assert (ended.terminal["kind"], ended.status) == ("run_stopped", "stopped")
    assert ended.content().state["trainer"]["progress"]["step"] == 15
    assert_same_end(undisturbed, resumed(ended, workspace))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises_ends_all_and_the_run_tells_its_words(
    undisturbed: Ended, workspace: Path, rank: int
) -> None:
    ended = struck(workspace, rank, "raise")
    assert ended.codes[0] == 1, ended.output
    assert 0 not in ended.codes
    assert (ended.status, ended.terminal["exit_code"], ended.terminal["resumable"]) == ("failed", 1, True)
    told = "ValueError: the model is unwell"
    assert ended.terminal["message"] == (told if rank == 0 else f"rank 1: {told}")
    assert ended.terminal["file"].endswith("models.py")
    assert_same_end(undisturbed, resumed(ended, workspace))


def test_a_rank_without_memory_gives_the_run_its_exit_code(workspace: Path) -> None:
    ended = struck(workspace, 1, "device memory")
    assert ended.codes == (71, 71), ended.output
    assert (ended.status, ended.terminal["exit_code"]) == ("failed", 71)
    [event] = ended.of_kind("out_of_memory")
    assert "CUDA out of memory" in event["message"]


def test_a_rank_that_is_killed_fails_the_run(undisturbed: Ended, workspace: Path) -> None:
    ended = struck(workspace, 1, "SIGKILL")
    assert ended.codes == (1, -signal.SIGKILL), ended.output
    assert (ended.status, ended.terminal["exit_code"], ended.terminal["resumable"]) == ("failed", 1, True)
    assert ended.terminal["message"].startswith("rank 1 (process ") and "has gone: killed" in ended.terminal["message"]
    assert_same_end(undisturbed, resumed(ended, workspace))


def test_when_rank_0_is_killed_the_others_end_and_an_observer_finds_the_run_lost(
    undisturbed: Ended, workspace: Path
) -> None:
    ended = struck(workspace, 0, "SIGKILL")
    assert ended.codes[0] == -signal.SIGKILL
    assert ended.codes[1] == 1, ended.output
    status = reconcile(ended.run)
    assert (status.status, status.exit_code) == ("lost", 137)
    assert_same_end(undisturbed, resumed(ended, workspace))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_ends_all(undisturbed: Ended, workspace: Path, rank: int) -> None:
    ended = struck(workspace, rank, "hang", hang_timeout=2.0)
    assert ended.codes[0] == 74, ended.output
    assert 0 not in ended.codes
    assert (ended.status, ended.terminal["exit_code"], ended.terminal["resumable"]) == ("failed", 74, True)
    assert len(ended.of_kind("hang")) == 1
    assert "models.py" in ended.output, "the stack of the rank that hangs"
    assert_same_end(undisturbed, resumed(ended, workspace))


def test_a_rank_that_fails_before_the_ranks_have_met_ends_all_and_is_told(workspace: Path) -> None:
    (workspace / "halves.py").write_text(
        "import os\nimport models\n\n\ndef load():\n    if os.environ['RANK'] == '1':\n"
        "        raise FileNotFoundError('no such data')\n    return models.load()\n"
    )
    run = new_run(workspace, {**CHANGE, "data": {"target": "halves:load"}})
    began = time.monotonic()
    # As under a launcher, whose presence the ranks know by this variable.
    ended = work(run, workspace, processes=2, TORCHELASTIC_RUN_ID="of-this-test")
    assert time.monotonic() - began < PROMPT
    assert ended.codes == (3, 3), ended.output
    assert (ended.status, ended.terminal["exit_code"]) == ("failed", 3)
    assert ended.terminal["message"].startswith("rank 1: the data cannot be made: FileNotFoundError: no such data")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["SIGTERM", "raise", "SIGKILL"])
@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("at", [2, 3, 7, 12, 21])
def test_three_ranks_agree_at_any_step(workspace: Path, at: int, rank: int, what: str) -> None:
    # 48 samples to train on, 16 for each rank: its BatchNorm never sees a batch of one.
    ended = struck(workspace, rank, what, at=at, processes=3, samples=58)
    assert 0 not in ended.codes, ended.output
    if what == "SIGTERM":
        assert ended.codes == (143,) * 3, ended.output
        assert ended.content().state["trainer"]["progress"]["step"] == at - 1
    elif what == "raise" or rank:
        assert (ended.status, ended.terminal["exit_code"]) == ("failed", 1)
    else:
        assert reconcile(ended.run).status == "lost"
