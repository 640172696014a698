"""Several processes over gloo train one model.

Proof 5: two equal an independent raw DDP loop in every bit, and each other. Proof 6: one, two and three with the same
global batch end with the same weights. Proof 8: validation of 9 items on one to four is the exact mean of all 9.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.raw_ddp import BATCH, CLIP, EPOCHS, RATE, SEED
from tests.core.trainer_workspace import (
    ROOT,
    Ended,
    add_attempt,
    assert_same_end,
    launched,
    make_workspace,
    merged,
    new_run,
    work,
)

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
        with open(f"seen-{os.environ.get('WORLD_SIZE', '1')}", "a") as file:
            file.write("".join(f"{value:.0f}\\n" for value in y.tolist()))
        return {"loss": F.mse_loss(module(x).squeeze(1), y), "mean": y.mean()}


class Single(Net):
    def build(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def single():
    from tests.core.raw_ddp import make_data

    return {"train": make_data()}


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
    ended = launched(new_run(workspace, CHANGE), workspace, processes=2)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    return ended


def test_both_ranks_end_with_the_same_weights(both: Ended, workspace: Path) -> None:
    assert (workspace / "weights-0").read_text() == (workspace / "weights-1").read_text()
    assert both.of_kind("run_started")[0]["processes"] == 2


def test_two_processes_equal_a_raw_ddp_loop_in_every_bit(workspace: Path, tmp_path: Path) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(ROOT / "tests/core/raw_ddp.py")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command, str(tmp_path / "raw")], env=environ, check=True, timeout=90)
    training = {
        "max_epochs": EPOCHS, "batch_size": BATCH, "gradient_accumulation_steps": 2, "learning_rate": RATE,
        "gradient_clipping": CLIP, "lr_scheduler": "constant",
    }  # fmt: skip
    change = {"seed": SEED, "model": {"target": "pair:Single", "params": {}}, "data": {"target": "pair:single"}}
    ended = work(new_run(workspace, {**change, "training": training}), workspace, processes=2)
    assert ended.codes == (0, 0), ended.output
    for rank in (0, 1):
        raw = torch.load(tmp_path / f"raw-{rank}.pt", weights_only=True)
        assert raw.keys() == ended.content().model.keys()
        for name, value in raw.items():
            assert torch.equal(value, ended.content().model[name]), (rank, name)


def sized(processes: int, batch_size: int, **training: Any) -> dict[str, Any]:
    return merged(CHANGE, {"training": {"batch_size": batch_size, **training}, "launch": {"processes": processes}})


@pytest.mark.parametrize(("processes", "batch_size"), [(1, 6), (3, 2)])
def test_one_two_and_three_processes_with_the_same_global_batch_get_the_same_weights(
    both: Ended, workspace: Path, processes: int, batch_size: int
) -> None:
    other = work(new_run(workspace, sized(processes, batch_size)), workspace, processes=processes)
    assert other.codes == (0,) * processes, other.output
    for name, value in other.content().model.items():
        assert ((value - both.content().model[name]).norm() / value.norm()).item() < 1e-12, name
    left, right = other.terminal["metrics"], both.terminal["metrics"]
    assert left["train/loss"] == pytest.approx(right["train/loss"], rel=1e-12)
    assert left["val/loss"] == pytest.approx(right["val/loss"], rel=1e-12)


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_validation_over_nine_items_is_the_exact_mean_of_each_once(workspace: Path, processes: int) -> None:
    seen = workspace / f"seen-{processes}"
    seen.unlink(missing_ok=True)
    run = new_run(workspace, sized(processes, 2, max_epochs=1))
    ended = work(run, workspace, processes=processes)
    assert ended.codes == (0,) * processes, ended.output
    assert ended.terminal["metrics"]["val/mean"] == 5.0
    items = sorted(map(int, seen.read_text().split()))
    preflight = processes  # each rank tries the first item once
    assert items == sorted([*range(1, 10), *[1] * preflight])


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
