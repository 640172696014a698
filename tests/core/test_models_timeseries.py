"""TimeSeriesModel: errors over the whole split in the targets' units, with shapes made equal and never broadcast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error
from torch import Tensor, nn

from kladml_core import MLTask, TimeSeriesModel
from kladml_core.data.windows import windows
from kladml_core.errors import ConfigError, TrainingFailedError, UnusableError


class Forecaster(TimeSeriesModel):
    def build(self) -> nn.Module:
        return nn.Linear(12, self.config.get("width", 3))


def series(length: int = 200) -> Tensor:
    steps = torch.arange(length)
    noise = torch.randn(length, generator=torch.Generator().manual_seed(1))
    return torch.sin(steps / 4) * 5 + noise * 0.3


@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_errors_are_those_of_the_whole_split(batch_size: int) -> None:
    x, y = windows(series(), 12, 3)
    model = Forecaster({"per_step": True})
    found = model.evaluate(x, y, batch_size=batch_size)
    forecast = model.predict(x)
    assert found["mse"] == pytest.approx(mean_squared_error(y, forecast), rel=1e-5)
    assert found["mae"] == pytest.approx(mean_absolute_error(y, forecast), rel=1e-5)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(y.flatten(), forecast.flatten()), rel=1e-5)
    assert found["loss"] == pytest.approx(found["mse"], rel=1e-6)
    for step in range(3):
        assert found[f"mae/step_{step + 1}"] == pytest.approx(mean_absolute_error(y[:, step], forecast[:, step]))


def test_the_horizon_cuts_forecasts_and_targets() -> None:
    x, y = windows(series(), 12, 7)
    model = Forecaster({"horizon": 2, "loss": "mae"})
    assert model.predict(x).shape == (len(x), 2)
    expected = mean_absolute_error(y[:, :2], model.predict(x))
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("forecast", "target", "common"),
    [
        ((5, 1), (5,), (5, 1)),
        ((5,), (5, 1), (5, 1)),
        ((5,), (5,), (5, 1)),
        ((5, 3, 1), (5, 3), (5, 3, 1)),
        ((5, 3), (5, 4, 1), (5, 3, 1)),
        ((5, 3, 2), (5, 6, 2), (5, 3, 2)),
    ],
)
def test_shapes_are_made_equal(forecast: tuple[int, ...], target: tuple[int, ...], common: tuple[int, ...]) -> None:
    one, other = Forecaster().aligned(torch.zeros(forecast), torch.zeros(target))
    assert one.shape == other.shape == common


@pytest.mark.parametrize(("forecast", "target"), [((5, 3), (5, 2)), ((5, 3, 2), (5, 3)), ((4, 3), (5, 3))])
def test_shapes_that_would_broadcast_or_run_short_are_refused(
    forecast: tuple[int, ...], target: tuple[int, ...]
) -> None:
    with pytest.raises(TrainingFailedError, match=f"{list(forecast)}".replace("[", r"\[")):
        Forecaster().aligned(torch.zeros(forecast), torch.zeros(target))


def test_a_horizon_beyond_the_module_and_an_unknown_loss_are_refused() -> None:
    x, y = windows(series(), 12, 7)
    with pytest.raises(TrainingFailedError, match="forecasts 3 steps"):
        Forecaster({"horizon": 4}).evaluate(x, y)
    with pytest.raises(ConfigError, match="mape"):
        Forecaster({"loss": "mape"}).evaluate(x, y)


def test_it_learns_a_wave_saves_and_loads(tmp_path: Path) -> None:
    past, future = series(600)[:480], series(600)[480:]
    model = Forecaster({"horizon": 3})
    train, val = windows(past.numpy().astype(np.float64), 12, 3), windows(future, 12, 3)
    metrics = model.train(*train, *val, max_epochs=20, learning_rate=0.01, batch_size=32)
    assert metrics["val/rmse"] < 1.0 < float(future.std())
    assert metrics["val/rmse"] == pytest.approx(metrics["val/mse"] ** 0.5, rel=1e-5)
    model.save(tmp_path / "model")
    assert torch.equal(Forecaster().load(tmp_path / "model").predict(val[0]), model.predict(val[0]))
    assert model.ml_task == MLTask.TIMESERIES_FORECASTING


def test_windows_are_the_past_and_what_followed() -> None:
    x, y = windows(torch.arange(10.0), 4, 2, stride=2)
    assert x.tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert y.tolist() == [[4, 5], [6, 7], [8, 9]]
    x, y = windows(torch.arange(12.0).reshape(6, 2), 3, 1)
    assert (x.shape, y.shape) == ((3, 3, 2), (3, 1, 2))
    assert x[1].tolist() == [[2, 3], [4, 5], [6, 7]]
    assert y[1].tolist() == [[8, 9]]
    with pytest.raises(UnusableError, match="series of 5 steps"):
        windows(torch.arange(5.0), 4, 2)
