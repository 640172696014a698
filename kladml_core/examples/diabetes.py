"""A regression: how far diabetes advances in a year, from ten measurements. Copy this file for a table of your own."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core import MLTask, TorchModel


class DiabetesMLP(TorchModel):
    """Ten standardised measurements to one number between 25 and 346.

    `model.params` of the config arrive as `self.config`:
        hidden: units of each of the two hidden layers.
        dropout: share of them that is dropped while training.
        center, scale: roughly the middle and the spread of what is predicted.
    """

    ml_task = MLTask.REGRESSION

    def build(self) -> nn.Module:
        """The network; called once, after the run's seed is set."""
        hidden, dropout = self.config.get("hidden", 32), self.config.get("dropout", 0.2)
        return nn.Sequential(
            nn.Linear(10, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
            _InUnits(self.config.get("center", 150.0), self.config.get("scale", 75.0)),
        )

    def training_step(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean squared error, in units of `scale` so that the usual learning rates fit."""
        inputs, targets = batch
        return self._loss(module(inputs), targets)

    def validation_step(self, module: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Means over the batch; the trainer weights them by its size, so that val/… are exact over the whole split."""
        inputs, targets, variance = batch
        outputs = module(inputs)
        error = outputs - targets
        return {
            "loss": self._loss(outputs, targets),
            "mae": error.abs().mean(),
            # R² is 1 - squared error / variance of the targets. The variance belongs to the whole split, so it comes
            # with the rows; one taken over a batch would make the mean over batches something else than R².
            "r2": (1 - error.square() / variance).mean(),
        }

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs, targets) / self.config.get("scale", 75.0) ** 2


def load() -> dict[str, Any]:
    """442 patients in a fixed split, 353 to train on and 89 to validate with: inputs float32 [n, 10], targets [n, 1].

    Validation rows carry a third column, the variance of the split's targets, for R².
    """
    inputs, targets = load_diabetes(return_X_y=True, scaled=False)
    rows = torch.arange(len(targets)).numpy()
    train, val = train_test_split(rows, test_size=89, random_state=0)
    x = torch.from_numpy(inputs).float()
    y = torch.from_numpy(targets).float().unsqueeze(1)
    # Mean and spread are taken from the training rows alone: those of all rows would tell it of the validation rows.
    x = (x - x[train].mean(dim=0)) / x[train].std(dim=0)
    variance = y[val].var(correction=0).expand(len(val), 1)
    return {"train": (x[train], y[train]), "val": (x[val], y[val], variance)}


class _InUnits(nn.Module):
    """Turns a number around 0 into the target's units, so that predictions need no unscaling afterwards."""

    def __init__(self, center: float, scale: float) -> None:
        super().__init__()
        self.center, self.scale = center, scale

    def forward(self, values: Tensor) -> Tensor:
        return self.center + self.scale * values
