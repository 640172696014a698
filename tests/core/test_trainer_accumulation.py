"""Proof 2. Gradient accumulation means the large batch: with uneven micro-batches, a tail, and weights that the model
gives.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.trainer import UniversalTrainer

SAMPLES = 29


def data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, 9, (SAMPLES,), generator=generator)
    return x, x @ torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64) ** 2, tokens


class Net(TorchModel):
    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)).double()

    def training_step(self, module: nn.Module, batch: Any) -> Any:
        x, y, tokens = batch
        errors = (module(x).squeeze(1) - y) ** 2
        if self.config.get("weighted"):
            return (errors * tokens).sum() / tokens.sum(), tokens.sum()
        return errors.mean()


def train(batch_size: int, accumulation: int, **config: Any) -> dict[str, Tensor]:
    model = Net(config)
    training = TrainingConfig(
        max_epochs=2,
        batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        optimizer={"name": "sgd", "momentum": 0.9},
        learning_rate=0.01,
    )
    assert UniversalTrainer(training, seed=5, device="cpu").fit(model, data()).status == "finished"
    return model.module.state_dict()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("batch_size", "accumulation"), [(1, 12), (2, 6), (3, 4), (4, 3), (6, 2)])
def test_accumulating_gives_the_gradient_of_the_large_batch(batch_size: int, accumulation: int, weighted: bool) -> None:
    # 29 samples in batches of 12: the last window has 5, the last micro-batch of it one or two.
    large = train(12, 1, weighted=weighted)
    small = train(batch_size, accumulation, weighted=weighted)
    for name, value in large.items():
        assert ((value - small[name]).norm() / value.norm()).item() < 1e-12, name


def test_two_losses_of_one_run_may_not_be_confused_by_their_shape() -> None:
    class Vector(Net):
        def training_step(self, module: nn.Module, batch: Any) -> Any:
            return F.mse_loss(module(batch[0]).squeeze(1), batch[1], reduction="none")

    with pytest.raises(Exception, match=r"the loss has the shape \[4\]"):
        UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=4), device="cpu").fit(Vector(), data())
