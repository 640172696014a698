"""The moving average of the weights, against a plain-torch loop that shares no code with the trainer."""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training import assembly, checkpoints
from kladml_core.training.averaging import Averages, too_slow_decay
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.guard import DeviceGuard
from kladml_core.training.ranks import Ranks
from kladml_core.training.trainer import UniversalTrainer

SEED, EPOCHS, BATCH, ACCUMULATION, SAMPLES, DECAY, RATE, CLIP = 5, 3, 6, 2, 45, 0.8, 1e-2, 0.5


class Tied(nn.Module):
    """Batch norm, dropout, a buffer that no average may touch, two names of one weight and a frozen layer."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.frozen, self.last = nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 3)
        self.two.weight = self.one.weight
        self.register_buffer("mask", torch.tensor([0.0] * 5 + [-math.inf]))

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.dropout(F.relu(self.norm(self.one(x))), 0.3, self.training)
        return self.last(torch.softmax(self.frozen(self.two(hidden)) + self.mask, dim=1))


def make_data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    x = torch.randn(SAMPLES + 12, 6, generator=torch.Generator().manual_seed(1))
    y = (x.sum(dim=1) > 0).long() + (x[:, 0] > 1).long()
    return (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])


class Net(TorchModel):
    """`bad`: the calls of training_step (the first is preflight's) whose loss is NaN."""

    def build(self) -> nn.Module:
        return Tied()

    def training_step(self, module: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        self.calls = getattr(self, "calls", 0) + 1
        loss = F.cross_entropy(module(x), y)
        return loss * math.nan if self.calls in self.config.get("bad", ()) else loss

    def validation_step(self, module: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(module(batch[0]), batch[1])


def reference(bad: tuple[int, ...] = (), *, fused: bool = False) -> tuple[nn.Module, nn.Module, list[float]]:
    """Trained weights, averaged weights, and the loss of the averaged ones on the validation data after each epoch."""
    torch.manual_seed(SEED)
    net = Tied()
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW([it for it in net.parameters() if it.requires_grad], lr=RATE, fused=fused or None)
    (x, y), (val_x, val_y) = make_data()
    losses, calls = [], 1
    for epoch in range(EPOCHS):
        digest = hashlib.blake2b(f"order:{SEED}:{epoch}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        batches = torch.randperm(SAMPLES, generator=generator).split(BATCH)
        for first in range(0, len(batches), ACCUMULATION):
            window = batches[first : first + ACCUMULATION]
            optimizer.zero_grad()
            before = copy.deepcopy(dict(net.named_buffers()))
            finite = True
            for batch in window:
                calls += 1
                loss = F.cross_entropy(net(x[batch]), y[batch])
                (loss * (len(batch) / sum(map(len, window)))).backward()
                finite = finite and calls not in bad
            if not finite:
                for name, buffer in net.named_buffers():
                    buffer.copy_(before[name])
                continue
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            with torch.no_grad():
                for mine, its in zip(average.parameters(), net.parameters(), strict=True):
                    mine.lerp_(its, 1 - DECAY)
                average.norm.running_mean.lerp_(net.norm.running_mean, 1 - DECAY)
                average.norm.running_var.lerp_(net.norm.running_var, 1 - DECAY)
                average.norm.num_batches_tracked.copy_(net.norm.num_batches_tracked)
        average.eval()
        with torch.no_grad():
            parts = [
                F.cross_entropy(average(a), b) for a, b in zip(val_x.split(BATCH), val_y.split(BATCH), strict=True)
            ]
        losses.append(sum(part.item() * BATCH for part in parts) / len(val_x))
    return net, average, losses


class Validations(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_validation_end(self, context: Context, metrics: Any) -> None:
        self.losses.append(metrics["val/loss"])


def train(run: RunDirectory, model: Net, *callbacks: Callback, **training: Any) -> TorchModel:
    config = {
        "max_epochs": EPOCHS, "batch_size": BATCH, "gradient_accumulation_steps": ACCUMULATION, "learning_rate": RATE,
        "gradient_clipping": CLIP, "ema_decay": DECAY, "checkpoint": {"keep_last": 9},
    }  # fmt: skip
    attempt = run.claim_attempt()
    trainer = UniversalTrainer(
        TrainingConfig(**(config | training)), seed=SEED, device="cpu", run=run, attempt=attempt, callbacks=callbacks
    )
    assert trainer.fit(model, *make_data(), resume=attempt > 1).status == "finished"
    return model


def new_run(directory: Path) -> RunDirectory:
    return RunDirectory.create(directory, "p", "f", "e", seed=SEED)


def last(run: RunDirectory) -> checkpoints.Content:
    info, _ = checkpoints.newest(run.checkpoints)
    assert info is not None
    return checkpoints.load(info.path)


def assert_equal(left: Any, right: Any) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_weights_averages_and_validations_equal_those_of_a_plain_loop_in_every_bit(tmp_path: Path) -> None:
    net, average, losses = reference()
    run, seen = new_run(tmp_path), Validations()
    model = train(run, Net(), seen)
    assert_equal(net.state_dict(), dict(model.module.state_dict()))
    assert_equal(average.state_dict(), last(run).weights_for_use())
    assert seen.losses == losses
    assert any(not torch.equal(a, b) for a, b in zip(net.parameters(), average.parameters(), strict=True))


def test_the_training_weights_are_what_they_are_without_an_average(tmp_path: Path) -> None:
    without = train(new_run(tmp_path), Net(), ema_decay=None)
    assert_equal(without.module.state_dict(), dict(reference()[0].state_dict()))


def test_the_best_model_for_use_is_the_average_at_the_best_validation(tmp_path: Path) -> None:
    run, seen = new_run(tmp_path), Validations()
    train(run, Net(), seen, early_stopping={"mode": "max"})  # so that the best is not the last
    best = seen.losses.index(max(seen.losses))
    assert best < EPOCHS - 1
    loaded = Net().load(run.artifacts / "best_model")
    at_best = checkpoints.valid(run.checkpoints)[best]
    assert_equal(loaded.module.state_dict(), checkpoints.load(at_best.path).weights_for_use())
    (_, (x, y)) = make_data()
    assert loaded.evaluate(x, y)["loss"] == pytest.approx(seen.losses[best], rel=1e-6)


def test_without_validation_the_average_at_the_end_is_what_is_left_for_use(tmp_path: Path) -> None:
    run, model = new_run(tmp_path), Net()
    config = TrainingConfig(max_epochs=1, batch_size=BATCH, ema_decay=DECAY)
    UniversalTrainer(config, device="cpu", run=run).fit(model, make_data()[0])
    found = Net().load(run.artifacts / "best_model").module.state_dict()
    assert_equal(last(run).weights_for_use(), dict(found))
    assert not torch.equal(found["one.weight"], model.module.state_dict()["one.weight"])


def test_averages_are_a_file_of_the_checkpoint_with_bare_names_and_tied_ones_once(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    train(run, Net())
    info = checkpoints.valid(run.checkpoints)[-1]
    assert "ema.safetensors" in info.sha256
    assert sorted(checkpoints.load(info.path).averages) == [
        "last.bias", "last.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.weight",
        "one.bias", "one.weight", "two.bias",
    ]  # fmt: skip
    file = info.path / "ema.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    newest, rejects = checkpoints.newest(run.checkpoints)
    assert newest is not None
    assert newest.step < info.step
    assert rejects == [(info.name, "ema.safetensors has changed since it was written")]


@pytest.mark.parametrize("decides", ["host", "device"])
def test_an_update_that_is_left_out_moves_neither_average_nor_statistics(
    decides: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU the optimizer itself leaves updates out, by a flag that the host never reads; fused CPU ones do it too.
    if decides == "device":
        monkeypatch.setattr(
            assembly,
            "make_guard",
            lambda optimizer, device, _, sticky, **__: DeviceGuard(optimizer, device, sticky=sticky),
        )
    bad, fused = (4, 5, 13), decides == "device"
    net, average, losses = reference(bad, fused=fused)
    run, seen = new_run(tmp_path), Validations()
    optimizer = {"name": "adamw", "fused": fused or None} if fused else "adamw"
    model = train(run, Net({"bad": bad}), seen, non_finite="skip", optimizer=optimizer)
    assert_equal(net.state_dict(), dict(model.module.state_dict()))
    found = last(run).weights_for_use()
    if decides == "host":
        assert_equal(average.state_dict(), found)
        assert seen.losses == losses
    for name, value in average.state_dict().items():  # a product and a sum round differently from lerp
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_after_a_step_that_ends_the_run_the_average_is_that_of_the_step_before() -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, fused=True)
    guard = DeviceGuard(optimizer, torch.device("cpu"), sticky=True)
    averages = Averages(module, optimizer, 0.5, Ranks())
    kept: dict[str, Tensor] = {}
    for number in range(6):
        loss = module(torch.ones(4, 3)).sum() * (math.nan if number == 2 else 1.0)
        optimizer.zero_grad()
        loss.backward()
        guard.admits(loss.detach(), torch.zeros(()))
        optimizer.step()
        averages.update(guard.flag)
        if number == 1:
            kept = {name: value.clone() for name, value in averages.state_dict().items()}
            assert not torch.equal(kept["weight"], module.weight)
    assert_equal(kept, averages.state_dict())
    assert guard.first_bad() == 3


def test_a_small_change_of_a_half_precision_weight_is_not_lost() -> None:
    module = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.ones_(module.weight)
    averages = Averages(module, torch.optim.SGD(module.parameters(), lr=0.1), 0.999, Ranks())
    nn.init.zeros_(module.weight)
    for _ in range(100):
        averages.update()
    assert averages.state_dict()["weight"].item() == pytest.approx(0.999**100, rel=1e-4)
    with averages.applied():
        assert module.weight.item() == pytest.approx(0.999**100, abs=0.005)
    assert module.weight.item() == 0.0


def test_an_average_may_be_turned_on_off_and_changed_in_a_run_that_goes_on(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    train(run, Net(), ema_decay=None, max_epochs=1)
    assert last(run).averages == {}
    train(run, Net(), max_epochs=2)
    turned_on = last(run)
    assert turned_on.averages
    train(run, Net(), ema_decay=0.5)
    assert not torch.equal(last(run).averages["one.weight"], turned_on.averages["one.weight"])
    trained = reference()[0].state_dict()
    assert_equal(last(run).model, {name: trained[name] for name in last(run).model})
    train(run, Net(), ema_decay=None, max_epochs=4)
    assert last(run).averages == {}


@pytest.mark.parametrize(("steps", "warned"), [(None, False), (40, True), (5000, False)])
def test_a_run_too_short_for_its_decay_is_told_a_fitting_one(steps: int | None, warned: bool) -> None:
    message = too_slow_decay(0.999, steps)
    assert (message is not None) == warned
    if message:
        assert "leaves 96% of the initial weights" in message
        assert "0.89 would leave about 1%" in message
