"""Proof 1. The trainer against a plain-torch loop that shares no code with it: equal means equal in every bit."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.trainer import UniversalTrainer

SEED, EPOCHS, BATCH, ACCUMULATION, SAMPLES = 7, 3, 8, 3, 83
CLIP, RATE, WARMUP, LOG_EVERY = 0.5, 3e-3, 4, 3


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))


def make_data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, 6, generator=generator)
    return x, (x.sum(dim=1) > 0).long() + (x[:, 0] > 1).long()


class Net(TorchModel):
    def build(self) -> nn.Module:
        return make_net()

    def training_step(self, module: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        return F.cross_entropy(module(x), y)


class Recorder:
    """A writer that keeps the metrics."""

    def __init__(self) -> None:
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, values: Any, step: int, time: float | None = None) -> None:
        self.metrics.append((step, dict(values)))

    def event(self, kind: str, *, step: int | None = None, epoch: int | None = None, **fields: Any) -> None: ...
    def status(self, status: str, **fields: Any) -> None: ...
    def progress(self, **fields: Any) -> None: ...
    def checkpoint(self, info: Any) -> None: ...

    def offsets(self) -> dict[str, int]:
        return {}


class Keep(Callback):
    """Keeps the optimizer and the learning rate of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.optimizer: torch.optim.Optimizer | None = None

    def on_step_end(self, context: Context) -> None:
        self.rates.append(context.optimizer.param_groups[0]["lr"])
        self.optimizer = context.optimizer


def reference_order(epoch: int) -> Tensor:
    """The documented order: a permutation from a generator seeded with a hash of purpose, seed and epoch."""
    digest = hashlib.blake2b(f"order:{SEED}:{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randperm(SAMPLES, generator=generator)


def reference_rate(step: int, total: int) -> float:
    if step < WARMUP:
        return RATE * ((step + 1) / WARMUP)
    return RATE * (0.5 * (1 + math.cos(math.pi * min(1.0, (step - WARMUP) / (total - WARMUP)))))


def reference() -> tuple[nn.Module, torch.optim.Optimizer, list[float], dict[int, float], dict[int, float]]:
    torch.manual_seed(SEED)
    net = make_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.1)
    x, y = make_data()
    micro = math.ceil(SAMPLES / BATCH)
    total = EPOCHS * math.ceil(micro / ACCUMULATION)
    rates, losses, norms, step = [], {}, {}, 0
    loss_sum, seen = 0.0, 0
    for epoch in range(EPOCHS):
        batches = list(reference_order(epoch).split(BATCH))
        for first in range(0, micro, ACCUMULATION):
            window = batches[first : first + ACCUMULATION]
            samples = sum(len(batch) for batch in window)
            for group in optimizer.param_groups:
                group["lr"] = reference_rate(step, total)
            optimizer.zero_grad()
            for batch in window:
                loss = F.cross_entropy(net(x[batch]), y[batch])
                (loss * (len(batch) / samples)).backward()
                loss_sum += loss.item() * len(batch)
                seen += len(batch)
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            rates.append(reference_rate(step, total))
            step += 1
            if step % LOG_EVERY == 0 or step == total:
                losses[step], norms[step] = loss_sum / seen, norm.item()
                loss_sum, seen = 0.0, 0
    return net, optimizer, rates, losses, norms


@pytest.fixture(scope="module")
def trained() -> tuple[Net, Keep, Recorder]:
    model, keep, recorder = Net(), Keep(), Recorder()
    config = TrainingConfig(
        max_epochs=EPOCHS,
        batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATION,
        learning_rate=RATE,
        optimizer={"name": "adamw", "weight_decay": 0.1},
        lr_scheduler={"name": "cosine", "warmup": WARMUP},
        gradient_clipping=CLIP,
        log_every=LOG_EVERY,
    )
    trainer = UniversalTrainer(config, seed=SEED, device="cpu", callbacks=[keep], writer=recorder)
    result = trainer.fit(model, make_data())
    assert result.status == "finished"
    return model, keep, recorder


def test_weights_equal_those_of_a_plain_loop_in_every_bit(trained: tuple[Net, Keep, Recorder]) -> None:
    net, *_ = reference()
    for name, value in net.state_dict().items():
        assert torch.equal(value, trained[0].module.state_dict()[name]), name


def test_the_optimizers_state_equals_it_too(trained: tuple[Net, Keep, Recorder]) -> None:
    _, optimizer, *_ = reference()
    mine = trained[1].optimizer
    assert mine is not None
    expected, actual = optimizer.state_dict()["state"], mine.state_dict()["state"]
    assert expected.keys() == actual.keys()
    for place, state in expected.items():
        for key, value in state.items():
            assert torch.equal(value, actual[place][key]), (place, key)


def test_learning_rates_losses_and_norms_are_logged_as_the_plain_loop_has_them(
    trained: tuple[Net, Keep, Recorder],
) -> None:
    _, _, rates, losses, norms = reference()
    assert trained[1].rates == rates
    logged = dict(trained[2].metrics)
    assert {step: values["train/loss"] for step, values in logged.items()} == losses
    assert {step: values["train/gradient_norm"] for step, values in logged.items()} == norms
    assert {step: values["train/learning_rate"] for step, values in logged.items()} == {
        step: rates[step - 1] for step in losses
    }
