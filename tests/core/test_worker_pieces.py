"""A model in pieces (FSDP) over gloo: it trains to what one process and DDP get, and its checkpoints are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kladml_core.runs.rundir import RunDirectory
from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, merged, new_run, work

MODEL = '''
import os
import signal

import torch
from torch import nn
from torch.nn import functional as F

from kladml_core import TorchModel

AT = int(os.environ.get("TEST_AT", "-1"))
HERE = os.environ.get("RANK", "0") == os.environ.get("TEST_RANK", "0")
CALL = 0


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.Tanh())

    def forward(self, x):
        return x + self.layers(x)


class Net(TorchModel):
    """In float64: what is left of differences is the order of additions."""

    def build(self):
        width = 7  # over two or three processes some pieces are smaller than others, and some empty
        first = [nn.Linear(4, width), nn.BatchNorm1d(width)] if self.config.get("norm") else [nn.Linear(4, width)]
        net = nn.Sequential(*first, Block(width), Block(width), nn.Linear(width, 1)).double()
        if self.config.get("tied"):
            net[-2].layers[0].weight = net[-3].layers[0].weight
        if self.config.get("frozen"):
            net[0].requires_grad_(False)
        return net

    def training_step(self, module, batch):
        global CALL
        CALL += 1
        if CALL == AT and HERE and os.environ["TEST_WHAT"].startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, os.environ["TEST_WHAT"]))
        x, y = batch
        loss = F.mse_loss(module(x).squeeze(1), y)
        if CALL == AT and HERE and os.environ["TEST_WHAT"] == "nan":
            loss = loss * float("nan")
        return (loss, float(len(x))) if self.config.get("weighted") else loss

    def validation_step(self, module, batch):
        x, y = batch
        return {"loss": F.mse_loss(module(x).squeeze(1), y), "mean": y.mean()}


class Odd(Net):
    def configure_optimizers(self, module, training):
        return torch.optim.Adafactor(module.parameters(), lr=1e-2)


class Single(Net):
    def build(self):
        return super().build().float()

    def training_step(self, module, batch):
        return super().training_step(module, [part.float() for part in batch])

    def validation_step(self, module, batch):
        return super().validation_step(module, [part.float() for part in batch])


def load(held_out=9):
    x = torch.randn(28 + held_out, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return {"train": (x[:28], x[:28].sum(1)), "val": (x[28:], torch.arange(1.0, held_out + 1, dtype=torch.float64))}
'''

BY_SIZE = {"auto_wrap_policy": "size_based_wrap", "min_num_params": 20}
BY_CLASS = {"auto_wrap_policy": "transformer_based_wrap", "transformer_cls_names_to_wrap": ["Block"]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_workspace(tmp_path_factory.mktemp("pieces"))
    (directory / "pieces.py").write_text(MODEL)
    return directory


def config(processes: int, fsdp: Any, *, held_out: int = 9, model: str = "Net", **params: Any) -> dict[str, Any]:
    """28 samples in windows of 12 and one of 4, over all processes."""
    return {
        "model": {"target": f"pieces:{model}", "params": params},
        "data": {"target": "pieces:load", "params": {"held_out": held_out}},
        "training": {
            "max_epochs": 3, "batch_size": 6 // processes, "gradient_accumulation_steps": 2, "log_every": 1,
            "gradient_clipping": 0.5, "learning_rate": 1e-2, "checkpoint": {"every_steps": 2},
        },
        "launch": {"processes": processes, "fsdp": fsdp},
    }  # fmt: skip


def trained(workspace: Path, change: dict[str, Any], run: RunDirectory | None = None, **environ: str) -> Ended:
    processes = change["launch"]["processes"]
    ended = work(run or new_run(workspace, change), workspace, processes=processes, **environ)
    assert environ or ended.codes == (0,) * processes, ended.output
    return ended


def in_pieces(ended: Ended) -> bool:
    return "pieces" in str(ended.content().state["trainer"]["surroundings"]["processes"])


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The greatest relative distance of two tensors of the same name."""
    assert one.keys() == other.keys()
    pairs = [(value.double(), other[name].double()) for name, value in one.items()]
    return max(float((left - right).norm() / left.norm().clamp(min=1e-300)) for left, right in pairs)


@pytest.fixture(scope="module")
def pair(workspace: Path) -> Ended:
    return trained(workspace, config(2, {}))


@pytest.mark.parametrize(("processes", "fsdp"), [(1, None), (2, None), (3, BY_SIZE), (2, BY_CLASS)])
def test_it_trains_to_the_weights_of_one_process_and_of_ddp(
    pair: Ended, workspace: Path, processes: int, fsdp: Any
) -> None:
    other = trained(workspace, config(processes, fsdp))
    assert in_pieces(pair)
    assert in_pieces(other) == (fsdp is not None)
    assert furthest(other.content().model, pair.content().model) < 1e-12
    assert furthest(other.content().optimizer, pair.content().optimizer) < 1e-12
    here, there = pair.terminal["metrics"], other.terminal["metrics"]
    for name in ("train/loss", "train/gradient_norm", "val/loss"):
        assert here[name] == pytest.approx(there[name], rel=1e-12), name
    assert here["train/gradient_norm"] > 0.5  # clipping had something to do


@pytest.mark.parametrize(
    ("what", "fsdp", "optimizer"),
    [
        ("weighted", BY_CLASS, "adamw"),
        ("frozen", BY_SIZE, {"name": "sgd", "momentum": 0.9}),
        ("tied", {}, "adagrad"),
        ("norm", {"reshard_after_forward": False}, {"name": "sgd", "momentum": 0.9}),
    ],
)
def test_whatever_the_model_is_like_it_equals_ddp(workspace: Path, what: str, fsdp: Any, optimizer: Any) -> None:
    change = {"training": {"optimizer": optimizer}}
    params: dict[str, Any] = {what: True}
    one = trained(workspace, merged(config(2, None, **params), change))
    other = trained(workspace, merged(config(2, fsdp, **params), change))
    assert not in_pieces(one) and in_pieces(other)
    assert furthest(one.content().model, other.content().model) < 1e-12
    assert one.content().state["model"] == other.content().state["model"]  # tied weights are known as such
    assert other.terminal["metrics"]["val/loss"] == pytest.approx(one.terminal["metrics"]["val/loss"], rel=1e-12)


def test_killed_at_any_rank_it_goes_on_to_the_same_bits(pair: Ended, workspace: Path) -> None:
    run = new_run(workspace, config(2, {}))
    first = trained(workspace, config(2, {}), run, TEST_AT="11", TEST_RANK="1", TEST_WHAT="SIGKILL")
    assert first.codes[1] == -9
    step = first.content().state["trainer"]["progress"]["step"]
    assert 0 < step < 9
    add_attempt(run)
    second = trained(workspace, config(2, {}), run)
    [resumed] = second.of_kind("resumed")
    assert (resumed["step"], resumed["exact"], resumed["reason"]) == (step, True, None)
    assert_same_end(pair, second)


@pytest.mark.parametrize(("processes", "fsdp"), [(1, None), (3, {})])
def test_it_goes_on_in_another_way_and_says_that_this_is_not_exact(
    pair: Ended, workspace: Path, processes: int, fsdp: Any
) -> None:
    run = new_run(workspace, config(2, {}))
    trained(workspace, config(2, {}), run, TEST_AT="10", TEST_WHAT="SIGTERM")
    change = config(processes, fsdp)
    run.config.write_text(new_run(workspace, change).config.read_text())
    add_attempt(run)
    second = trained(workspace, change, run)
    [resumed] = second.of_kind("resumed")
    assert resumed["exact"] is False
    assert "processes was 2 with the model in pieces" in resumed["reason"]
    assert second.terminal["step"] == pair.terminal["step"]
    assert in_pieces(second) == (fsdp is not None)


@pytest.mark.parametrize("held_out", [1, 8])
def test_validation_is_exact_where_a_rank_has_fewer_items_or_none(workspace: Path, held_out: int) -> None:
    ended = trained(workspace, merged(config(3, BY_SIZE, held_out=held_out), {"training": {"max_epochs": 1}}))
    assert ended.terminal["metrics"]["val/mean"] == (held_out + 1) / 2


def test_a_loss_that_is_not_finite_on_one_rank_stops_all(workspace: Path) -> None:
    ended = trained(workspace, config(2, {}), TEST_AT="10", TEST_RANK="1", TEST_WHAT="nan")
    assert (ended.terminal["kind"], ended.terminal["exit_code"]) == ("run_failed", 70), ended.output


def test_the_best_model_is_whole(pair: Ended, workspace: Path) -> None:
    from safetensors.torch import load_file

    best = load_file(pair.run.artifacts / "best_model" / "model.safetensors")
    name = pair.terminal["best"]["checkpoint"]
    assert set(best) == set(pair.content().model)
    assert all(best[key].shape == value.shape for key, value in pair.content().model.items())
    assert name in {path.name for path in pair.run.checkpoints.iterdir()}


def test_bf16_keeps_float32_weights(workspace: Path) -> None:
    change = {"training": {"mixed_precision": "bf16", "max_epochs": 1}}
    ended = trained(workspace, merged(config(2, BY_SIZE, model="Single"), change))
    assert in_pieces(ended)
    assert {value.dtype for value in ended.content().model.values()} == {torch.float32}
    ddp = trained(workspace, merged(config(2, None, model="Single"), change))
    full = trained(workspace, merged(config(2, BY_SIZE, model="Single"), {"training": {"max_epochs": 1}}))
    assert furthest(ddp.content().model, ended.content().model) < 1e-6
    assert furthest(full.content().model, ended.content().model) > 1e-5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            config(2, BY_SIZE, tied=True),
            "is the same weight as 1.layers.0.weight, which auto_wrap_policy may cut apart",
        ),
        (config(2, {}, model="Odd"), "Adafactor may need whole weights"),
        (config(2, {**BY_CLASS, "transformer_cls_names_to_wrap": ["Blok"]}), "layer class Blok in the model"),
        (
            merged(config(2, {}), {"training": {"mixed_precision": "bf16"}}),
            "from float32 weights, and 0.weight is float64",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused_before_training(workspace: Path, change: dict[str, Any], says: str) -> None:
    ended = work(new_run(workspace, change), workspace, processes=2)
    assert (ended.terminal["kind"], ended.terminal["exit_code"]) == ("run_failed", 3), ended.output
    assert says in ended.terminal["message"]
    assert "launch.fsdp" in ended.terminal["message"]
