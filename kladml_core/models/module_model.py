"""Any nn.Module with a loss, made into a TorchModel: batches are (x, y), the loss is loss(module(x), y)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from kladml_core.models.torch_model import StepOutput, TorchModel

Loss = Callable[[Any, Any], Tensor]


class ModuleModel(TorchModel):
    """A plain module and the loss that the config names.

    Args:
        make: gives a new module with its initial weights.
        loss: `loss(output, y)`, a scalar that is the mean over the batch's samples.
        config: the module's parameters, kept beside the saved weights.
    """

    def __init__(self, make: Callable[[], nn.Module], loss: Loss, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._make = make
        self._loss = loss

    def build(self) -> nn.Module:
        """A new module."""
        return self._make()

    def training_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """loss(module(x), y) of a batch (x, y)."""
        inputs, targets = batch
        return self._loss(module(inputs), targets)
