"""A model in PyTorch: it says how to build its module and how to take one step; the trainer does the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from kladml_core.data.datamodule import as_tensor
from kladml_core.models.base import BaseModel
from kladml_core.models.files import read_about, read_weights, write_model
from kladml_core.models.task import MLTask

StepOutput = Tensor | tuple[Tensor, Any] | Mapping[str, Any]
"""`loss`, `(loss, weight)`, or {"loss": …, name: …}; a value of the mapping may itself be `(mean, weight)`.

Of `validation_step` it may also be a `Sum`."""


class TorchModel(BaseModel):
    """A model whose module the Universal Trainer can train.

    A subclass gives `build` and `training_step`; the rest has defaults. The steps receive the module to call,
    which in distributed training is not the one that `build` returned: call `module(x)`, never `self.module(x)`.

    Attributes:
        config: the parameters of `model.params`.
    """

    ml_task: MLTask = MLTask.OTHER

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._module: nn.Module | None = None

    @abstractmethod
    def build(self) -> nn.Module:
        """A new module with its initial weights, drawn from torch's global generator."""

    @abstractmethod
    def training_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """The loss of one micro-batch.

        Args:
            module: the (wrapped) module to call.
            batch: what the data gives, on the training device; `(x, y)` for tensor data.

        Returns:
            A scalar loss, the mean over the batch's samples; or `(loss, weight)` where the mean is over something
            else, tokens say; or a mapping with `loss` and further values to log as `train/<name>`.
        """

    def validation_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """As `training_step`, without gradients and on the unwrapped module in eval mode.

        Returns:
            As `training_step`; a value of the mapping may also be a `Sum`, for a metric of the whole split that is no
            mean over its samples. What is logged as `val/<name>` is what `validation_metrics` makes of it.
        """
        return self.training_step(module, batch)

    def validation_metrics(self, means: Mapping[str, float], sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The metrics of a whole split, from what `validation_step` gave for its batches.

        Called once a validation, by `evaluate` too, in every process with the same numbers, so that one process and
        several give the same metrics:

            def validation_metrics(self, means, sums):
                return {**means, "rmse": means["mse"] ** 0.5, "recall": sums["found"].item() / sums["all"].item()}

        Args:
            means: by name, `loss` among them: Σ mean × weight / Σ weight over all batches of all processes, where the
                weight is the batch's number of samples unless the step gave another. In the units of the step.
            sums: by name, what the step gave as `Sum`, added up over the same; of the shape that the step gave, int64
                or floating point, on the CPU.

        Returns:
            Name to number, `loss` among them; logged as `val/<name>`. The means alone unless this is overridden.
        """
        return means

    def predict_step(self, module: nn.Module, batch: Any) -> Any:
        """The predictions for one batch of inputs."""
        return module(batch)

    def configure_optimizers(self, module: nn.Module, training: Any) -> torch.optim.Optimizer | None:
        """An optimizer of one's own; None takes the one that the config names.

        Args:
            module: the module as built, on its device, not yet wrapped.
            training: the run's TrainingConfig.
        """
        return None

    @property
    def module(self) -> nn.Module:
        """The module, built on first use."""
        if self._module is None:
            self._module = self.build()
        return self._module

    def with_module(self, module: nn.Module) -> Self:
        """A copy of this model around another module, of the same build."""
        other = copy(self)
        other._module = module
        return other

    def train(
        self, X_train: Any, y_train: Any = None, X_val: Any = None, y_val: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Trains in this process.

        Args:
            X_train: inputs, first dimension samples; or a Dataset when `y_train` is None.
            y_train: targets.
            X_val: as `X_train`, for validation.
            y_val: targets of `X_val`.
            kwargs: keys of TrainingConfig (`max_epochs` is 10 unless given), and `seed`.

        Returns:
            The last value of each metric.
        """
        from kladml_core.config.schema import TrainingConfig
        from kladml_core.training.trainer import UniversalTrainer

        seed = int(kwargs.pop("seed", 0))
        trainer = UniversalTrainer(TrainingConfig(**{"max_epochs": 10, **kwargs}), seed=seed)
        return dict(trainer.fit(self, _data(X_train, y_train), _data(X_val, y_val)).metrics)

    @torch.no_grad()
    def predict(self, X: Any, **kwargs: Any) -> Any:
        """Predictions for `X` on the CPU, made in batches of `batch_size` (default 256) on the module's device."""
        return self._in_batches(self.predict_step, X, **kwargs)

    def _in_batches(self, step: Callable[[nn.Module, Any], Any], X: Any, **kwargs: Any) -> Tensor:
        """`step` over all rows of `X`, in eval mode, joined."""
        inputs = as_tensor(X, "input")
        size = int(kwargs.get("batch_size", 256))
        device = next(self.module.parameters(), inputs).device
        was_training = self.module.training
        self.module.eval()
        try:
            parts = [step(self.module, part.to(device)).cpu() for part in inputs.split(size)]
        finally:
            self.module.train(was_training)
        return torch.cat(parts)

    def evaluate(self, X_test: Any, y_test: Any = None, **kwargs: Any) -> dict[str, Any]:
        """`validation_metrics` over all samples, as a validation in training computes them, without a prefix."""
        from kladml_core.config.schema import TrainingConfig
        from kladml_core.training.trainer import UniversalTrainer

        trainer = UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=int(kwargs.get("batch_size", 256))))
        return dict(trainer.validate(self, _data(X_test, y_test)))

    def save(self, path: str | Path) -> None:
        """Writes model.safetensors and model.json into the directory `path`.

        Raises:
            OSError: the directory cannot be written.
        """
        made_by = f"{type(self).__module__}:{type(self).__qualname__}"
        write_model(Path(path), self.module, {"class": made_by, "config": self.config})

    def load(self, path: str | Path) -> Self:
        """Reads what `save` wrote; the module is built from the saved config.

        Raises:
            UnusableError: the directory holds no model, or one of another shape.
        """
        self.config = dict(read_about(Path(path)).get("config") or self.config)
        module = self.build()
        read_weights(Path(path), module)
        self._module = module
        return self


def _data(inputs: Any, targets: Any) -> Any:
    """Inputs and targets as a split takes them, or the Dataset or nothing that was given instead."""
    if inputs is None or (targets is None and not hasattr(inputs, "__array__") and not isinstance(inputs, Tensor)):
        return inputs
    return (inputs,) if targets is None else (inputs, targets)
