"""Two processes over gloo train one model: equal weights on both, the same result as one process, one stop for all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, new_run, work

MODEL = '''
import hashlib
import os
import signal
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from kladml_core import TorchModel

RANK = os.environ.get("RANK", "0")
AT = int(os.environ.get("TEST_AT", "-1"))
CALL = 0


class Net(TorchModel):
    """No dropout and no batch norm, in float64: what is left of differences is the order of additions."""

    def build(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def training_step(self, module, batch):
        global CALL
        CALL += 1
        if RANK == "1" and CALL == AT:
            os.kill(os.getpid(), signal.SIGTERM)
        x, y = batch
        return F.mse_loss(module(x).squeeze(1), y)

    def validation_step(self, module, batch):
        x, y = batch
        state = b"".join(value.numpy().tobytes() for value in module.state_dict().values())
        Path(f"weights-{RANK}").write_text(hashlib.sha256(state).hexdigest())
        return {"loss": F.mse_loss(module(x).squeeze(1), y), "mean": y.mean()}


def load():
    x = torch.randn(37, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return {"train": (x[:28], x[:28].sum(1)), "val": (x[28:], torch.arange(1.0, 10.0, dtype=torch.float64))}
'''

CHANGE = {
    "model": {"target": "pair:Net", "params": {}},
    "data": {"target": "pair:load"},
    "training": {"max_epochs": 3, "batch_size": 3, "gradient_accumulation_steps": 2, "log_every": 1},
    "launch": {"processes": 2},
}
"""28 samples in global micro-batches of 6: in the last one, rank 0 and rank 1 have two each."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_workspace(tmp_path_factory.mktemp("pair"))
    (directory / "pair.py").write_text(MODEL)
    return directory


@pytest.fixture(scope="module")
def both(workspace: Path) -> Ended:
    ended = work(new_run(workspace, CHANGE), workspace, processes=2)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    return ended


def test_both_ranks_end_with_the_same_weights(both: Ended, workspace: Path) -> None:
    assert (workspace / "weights-0").read_text() == (workspace / "weights-1").read_text()
    assert both.of_kind("run_started")[0]["processes"] == 2


def test_one_process_with_the_same_global_batch_gets_the_same_weights(both: Ended, workspace: Path) -> None:
    change = {**CHANGE, "training": {**CHANGE["training"], "batch_size": 6}, "launch": {"processes": 1}}
    alone = work(new_run(workspace, change), workspace)
    assert alone.code == 0, alone.output
    for name, value in alone.content().model.items():
        assert ((value - both.content().model[name]).norm() / value.norm()).item() < 1e-12, name
    left, right = alone.terminal["metrics"], both.terminal["metrics"]
    assert left["train/loss"] == pytest.approx(right["train/loss"], rel=1e-12)
    assert left["val/loss"] == pytest.approx(right["val/loss"], rel=1e-12)


def test_validation_over_nine_items_is_the_exact_mean(both: Ended) -> None:
    assert both.terminal["metrics"]["val/mean"] == 5.0


def test_a_signal_to_one_rank_stops_both_at_one_step_and_the_resume_is_exact(both: Ended, workspace: Path) -> None:
    run = new_run(workspace, CHANGE)
    first = work(run, workspace, processes=2, TEST_AT="12", TEST_WHAT="SIGTERM")
    assert (first.terminal["kind"], first.terminal["exit_code"]) == ("run_stopped", 143), first.output
    assert first.content().state["trainer"]["progress"]["step"] == 7
    add_attempt(run)
    second = work(run, workspace, processes=2)
    assert second.code == 0, second.output
    assert second.of_kind("resumed")[0]["exact"] is True, second.of_kind("resumed")
    assert_same_end(both, second)


def test_generators_of_every_rank_are_saved(both: Ended) -> None:
    ranks = {name.partition("/")[0] for name in both.content().rng}
    assert ranks == {"rank0", "rank1"}
    assert not torch.equal(both.content().rng["rank0/torch"], both.content().rng["rank1/torch"])
