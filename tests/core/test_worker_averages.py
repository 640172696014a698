"""The moving average of the weights in real processes: killed in the middle of an epoch, and on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, merged, new_run, work

# Two ranks whose batches differ leave unlike statistics in their batch norms; each writes what it validates with.
MODEL = """
import hashlib
import os
from pathlib import Path

from models import Net as Plain
from models import load


class Net(Plain):
    def validation_step(self, module, batch):
        weights = (value for value in module.state_dict().values() if value.is_floating_point())
        state = b"".join(value.numpy().tobytes() for value in weights)
        with open(f"validated-{os.environ.get('RANK', '0')}-{os.environ['TEST_RUN']}", "a") as file:
            file.write(hashlib.sha256(state).hexdigest() + "\\n")
        return super().validation_step(module, batch)
"""
CHANGE = {
    "model": {"target": "averaged:Net", "params": {"width": 16}},
    "data": {"target": "averaged:load"},
    "training": {"max_epochs": 2, "ema_decay": 0.9, "checkpoint": {"every_steps": 3}},
}
DOUBLE = merged(CHANGE, {"training": {"batch_size": 2}, "launch": {"processes": 2}})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_workspace(tmp_path_factory.mktemp("averages"))
    (directory / "averaged.py").write_text(MODEL)
    return directory


def validated(workspace: Path, run: str, rank: int) -> list[str]:
    return (workspace / f"validated-{rank}-{run}").read_text().split()


@pytest.mark.parametrize(("processes", "what"), [(1, "SIGKILL"), (2, "SIGTERM")])
def test_a_run_that_is_killed_in_the_middle_of_an_epoch_ends_with_the_same_average(
    workspace: Path, processes: int, what: str
) -> None:
    change = DOUBLE if processes > 1 else CHANGE
    whole = work(new_run(workspace, change), workspace, processes=processes, TEST_RUN=f"whole{processes}{what}")
    assert whole.code == 0, whole.output
    run = new_run(workspace, change)
    killed = work(run, workspace, processes=processes, TEST_AT="9", TEST_WHAT=what, TEST_RUN=f"killed{processes}{what}")
    assert killed.code != 0
    assert 0 < killed.content().state["trainer"]["progress"]["step"] < 10
    add_attempt(run)
    resumed = work(run, workspace, processes=processes, TEST_RUN=f"resumed{processes}{what}")
    assert resumed.of_kind("resumed")[0]["exact"] is True, resumed.of_kind("resumed")
    assert_same_end(whole, resumed)
    assert whole.content().averages
    assert metrics(whole) == metrics(resumed)


def test_all_ranks_validate_with_the_same_average(workspace: Path) -> None:
    ended = work(new_run(workspace, DOUBLE), workspace, processes=2, TEST_RUN="equal")
    assert ended.codes == (0, 0), ended.output
    ranks = [validated(workspace, "equal", rank)[1:] for rank in (0, 1)]  # the first is preflight's
    assert set(ranks[0]) == set(ranks[1])
    assert len(set(ranks[0])) == 2  # one an epoch
    content = ended.content()
    assert not torch.equal(content.averages["0.1.running_mean"], content.model["0.1.running_mean"])


def metrics(ended: Ended) -> list[dict[str, float]]:
    return [event["metrics"] for event in ended.of_kind("validation")]
