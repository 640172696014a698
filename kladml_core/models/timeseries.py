"""A forecaster in PyTorch: from a window of the past to the next steps, judged by squared and absolute errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.errors import ConfigError, TrainingFailedError
from kladml_core.models.task import MLTask
from kladml_core.models.torch_model import StepOutput, TorchModel

_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
}


class TimeSeriesModel(TorchModel):
    """A model that needs `build` alone: batches are `(x, y)`, a window of the past and what followed it.

    The module maps x, float [n, window, features] say, to forecasts float [n, horizon] or [n, horizon, features].
    Targets have as many steps or more; of more, the first `horizon` count. A single step may be [n] on either side,
    and a last dimension of 1 may be missing on either side: shapes are made equal here, never broadcast.
    `kladml_core.data.windows` cuts a series into such pairs.

    These keys of `config` are read here, beside the model's own:
        horizon: steps to forecast; the module's own number of steps where it is not given.
        loss: mse (the default), mae, huber or smooth_l1.
        per_step: true logs `mae/step_<k>` for each step of the horizon too.

    Validation gives `loss`, `mse`, `mae` and `rmse` over the whole split: `mae` and `rmse` in the targets' units, `mse`
    in their square. `rmse` is the root of the whole split's `mse`.
    """

    ml_task = MLTask.TIMESERIES_FORECASTING

    def training_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """The loss of a batch."""
        inputs, targets = batch
        return self.loss(*self.aligned(module(inputs), targets))

    def validation_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """`loss`, `mse` and `mae`, of which `validation_metrics` makes `rmse`."""
        inputs, targets = batch
        forecast, truth = self.aligned(module(inputs), targets)
        # In float32 a batch's mean itself is rounded, and how depends on where the split is cut into batches.
        wide = torch.float32 if forecast.device.type == "mps" else torch.float64
        error = forecast.to(wide) - truth.to(wide)
        found: dict[str, Any] = {
            "loss": self.loss(forecast, truth),
            "mse": (error.square().mean(), error.numel()),
            "mae": (error.abs().mean(), error.numel()),
        }
        if self.config.get("per_step", False):
            by_step = error.abs().flatten(start_dim=2).mean(dim=(0, 2)) if error.ndim > 2 else error.abs().mean(dim=0)
            found.update({f"mae/step_{step}": value for step, value in enumerate(by_step, start=1)})
        return found

    def validation_metrics(self, means: Mapping[str, float], sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The means and `rmse`."""
        return {**means, "rmse": math.sqrt(means["mse"])} if "mse" in means else means

    def predict_step(self, module: nn.Module, batch: Any) -> Tensor:
        """Forecasts [n, horizon, …] in the targets' units."""
        return self._cut(_with_steps(module(batch)))

    def loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        """The configured loss, the mean over samples, steps and features."""
        name = str(self.config.get("loss", "mse"))
        if name not in _LOSSES:
            raise ConfigError(f"a forecaster's loss {name!r} is not known", hint=f"one of {', '.join(_LOSSES)}")
        return _LOSSES[name](forecast, truth)

    def aligned(self, forecast: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Forecasts and targets of the same shape [n, horizon, …].

        Raises:
            TrainingFailedError: their shapes do not fit, or there are fewer steps than the horizon.
        """
        given = forecast.shape, targets.shape
        forecast, targets = self._cut(_with_steps(forecast)), _with_steps(targets)
        if targets.shape[1] > forecast.shape[1]:
            targets = targets[:, : forecast.shape[1]]
        if forecast.ndim == targets.ndim + 1 and forecast.shape[-1] == 1:
            targets = targets.unsqueeze(-1)
        elif targets.ndim == forecast.ndim + 1 and targets.shape[-1] == 1:
            forecast = forecast.unsqueeze(-1)
        if forecast.shape != targets.shape:
            raise TrainingFailedError(
                f"forecasts {list(given[0])} and targets {list(given[1])} do not fit",
                hint="give both as [n, horizon] or [n, horizon, features]",
            )
        return forecast, targets

    def _cut(self, forecast: Tensor) -> Tensor:
        horizon = int(self.config.get("horizon", forecast.shape[1]))
        if not 1 <= horizon <= forecast.shape[1]:
            raise TrainingFailedError(
                f"the horizon is {horizon}, but the module forecasts {forecast.shape[1]} steps",
                hint="make its last layer as wide as the horizon",
            )
        return forecast[:, :horizon]


def _with_steps(values: Tensor) -> Tensor:
    return values.unsqueeze(1) if values.ndim == 1 else values
