"""A small convolutional network on scikit-learn's 1,797 handwritten digits. Copy this file to start one of your own."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core import MLTask, TorchModel


class DigitsCNN(TorchModel):
    """8x8 grey images to ten classes.

    `model.params` of the config arrive as `self.config`:
        width: channels of the first layer (the second has twice as many).
        dropout: share of the features that are dropped before the last layer.
        shift: images are moved by up to so many pixels while training.
    """

    ml_task = MLTask.CLASSIFICATION

    def build(self) -> nn.Module:
        """The network; called once, after the run's seed is set."""
        width = self.config.get("width", 32)
        return nn.Sequential(
            _block(1, width),
            nn.MaxPool2d(2),
            _block(width, 2 * width),
            _block(2 * width, 2 * width),
            nn.Flatten(),
            nn.Dropout(self.config.get("dropout", 0.3)),
            nn.Linear(2 * width * 16, 10),
        )

    def training_step(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The mean loss of a batch. Call the `module` that is given: DDP has wrapped it."""
        images, labels = batch
        return F.cross_entropy(module(self._shifted(images)), labels)

    def validation_step(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Means over the batch; the trainer weights them by its size, so that val/… are exact over the whole split."""
        images, labels = batch
        logits = module(images)
        return {
            "loss": F.cross_entropy(logits, labels),
            "accuracy": (logits.argmax(dim=1) == labels).float().mean(),
        }

    def _shifted(self, images: Tensor) -> Tensor:
        # 1,437 images are few: a digit moved by a pixel is a new one, and the network cannot learn them by heart.
        # One shift for the whole batch is enough and costs nothing.
        reach = self.config.get("shift", 1)
        if not reach:
            return images
        down, right = torch.randint(-reach, reach + 1, (2,)).tolist()
        padded = F.pad(images, (reach, reach, reach, reach))
        return padded[:, :, reach + down : reach + down + 8, reach + right : reach + right + 8]


def load() -> dict[str, Any]:
    """The data: for each split a tuple of tensors with one row a sample.

    The split is part of the problem, so it is fixed here and does not follow the run's seed: 1,437 images to train on,
    360 to validate with, every digit in the same share. Images are float32 [n, 1, 8, 8] from 0 to 1, labels int64 [n].
    """
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(digits.target).long()
    rows = torch.arange(len(labels)).numpy()
    train, val = train_test_split(rows, test_size=360, stratify=digits.target, random_state=0)
    return {"train": (images[train], labels[train]), "val": (images[val], labels[val])}


def _block(inputs: int, outputs: int) -> nn.Module:
    # No bias before a batch norm, which would take it away again.
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
