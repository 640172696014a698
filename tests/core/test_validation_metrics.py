"""Metrics that are no means: of one process and of several they are scikit-learn's, over the whole split."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, root_mean_squared_error
from torch import Tensor, nn

from kladml_core import Sum, TorchModel
from kladml_core.errors import TrainingFailedError, UnusableError
from kladml_core.training.trainer import UniversalTrainer
from tests.core.trainer_workspace import Ended, make_workspace, merged, new_run, work

MODEL = """
import torch
from torch import nn

from kladml_core import ClassificationModel, TimeSeriesModel

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
NOISE = torch.randn(60, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def data(y, held_out):
    return {"train": (X[:-held_out], y[:-held_out]), "val": (X[-held_out:], y[-held_out:])}


def classes(held_out):
    return data((X[:, 0] * 1.5 + NOISE[:, 0]).round().long().clamp(0, 3), held_out)


def series(held_out):
    return data(X[:, :3] * 2 + NOISE, held_out)


class Classifier(ClassificationModel):
    def build(self):
        return nn.Linear(5, 4).double()


class Forecaster(TimeSeriesModel):
    def build(self):
        return nn.Linear(5, 3).double()
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_workspace(tmp_path_factory.mktemp("metrics"))
    (directory / "judged.py").write_text(MODEL)
    return directory


def trained(workspace: Path, model: str, load: str, held_out: int, processes: int) -> Ended:
    change = {
        "model": {"target": f"judged:{model}", "params": {"per_class": True}},
        "data": {"target": f"judged:{load}", "params": {"held_out": held_out}},
        "training": {"max_epochs": 1, "batch_size": 2, "early_stopping": {"enabled": True}},
        "launch": {"processes": processes},
    }
    ended = work(new_run(workspace, change), workspace, processes=processes)
    assert ended.codes == (0,) * processes, ended.output
    return ended


def weights(ended: Ended) -> tuple[Any, Any]:
    model = ended.content().model
    return model["weight"].numpy(), model["bias"].numpy()


def held_out_data(count: int) -> tuple[Any, dict[str, Any]]:
    space: dict[str, Any] = {}
    exec(MODEL, space)
    return space["X"][-count:].numpy(), {name: space[name](count)["val"][1].numpy() for name in ("classes", "series")}


@pytest.mark.parametrize(("processes", "held_out"), [(1, 11), (2, 11), (3, 11), (3, 2)])
def test_macro_f1_and_rmse_are_those_of_scikit_learn_for_any_number_of_processes(
    workspace: Path, processes: int, held_out: int
) -> None:
    """11 items are 4, 4 and 3; of 2, the third process has none."""
    x, truths = held_out_data(held_out)
    ended = trained(workspace, "Classifier", "classes", held_out, processes)
    weight, bias = weights(ended)
    predicted, truth = (x @ weight.T + bias).argmax(axis=1), truths["classes"]
    found = ended.terminal["metrics"]
    assert found["val/macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"), abs=1e-15)
    by_class = f1_score(truth, predicted, average=None, labels=np.unique([truth, predicted]))
    for label, expected in zip(np.unique([truth, predicted]), by_class, strict=True):
        assert found[f"val/f1/{label}"] == pytest.approx(expected, abs=1e-15)
    assert "val/counts" not in found

    ended = trained(workspace, "Forecaster", "series", held_out, processes)
    weight, bias = weights(ended)
    expected = root_mean_squared_error(truths["series"].ravel(), (x @ weight.T + bias).ravel())
    assert ended.terminal["metrics"]["val/rmse"] == pytest.approx(expected, rel=1e-14)
    assert ended.of_kind("validation")[-1]["metrics"]["val/rmse"] == ended.terminal["metrics"]["val/rmse"]


class Judged(TorchModel):
    """Gives what the test tells it to."""

    def build(self) -> nn.Module:
        return nn.Linear(2, 1)

    def training_step(self, module: nn.Module, batch: Any) -> Tensor:
        return module(batch[0]).square().mean()  # type: ignore[no-any-return]

    def validation_step(self, module: nn.Module, batch: Any) -> dict[str, Any]:
        value = self.config["gives"](batch[0])
        return {"loss": self.training_step(module, batch), "seen": Sum(value)}

    def validation_metrics(self, means: Any, sums: Any) -> Any:
        return self.config["makes"](means, sums)


def judged(gives: Any, makes: Any) -> dict[str, float]:
    from kladml_core import TrainingConfig

    trainer = UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=4), device="cpu")
    return trainer.validate(Judged({"gives": gives, "makes": makes}), (torch.arange(20.0).reshape(10, 2),))


def test_whole_numbers_are_added_up_exactly_and_others_in_double_precision() -> None:
    huge = 2**60 + 1
    assert judged(lambda x: torch.tensor([huge]), lambda _, sums: {"off": sums["seen"].item() - 3 * huge})["off"] == 0
    tenth = judged(lambda x: torch.full((), 0.1, dtype=torch.float64), lambda _, sums: {"sum": sums["seen"]})
    assert tenth["sum"] == pytest.approx(0.3, rel=1e-15)
    assert judged(lambda x: x.shape[0], lambda _, sums: {"items": sums["seen"]}) == {"items": 10.0}


@pytest.mark.parametrize(
    ("gives", "makes", "says"),
    [
        (lambda x: torch.zeros(len(x)), lambda _, sums: {}, r"the Sum seen has the shape \[4\] in one batch and \[2\]"),
        (lambda x: 1, lambda _, sums: [1.0], "validation_metrics returned a list"),
        (lambda x: 1, lambda _, sums: None, "validation_metrics returned None"),
        (lambda x: 1, lambda _, sums: {"seen": torch.zeros(2)}, "validation_metrics gave no number"),
    ],
)
def test_what_cannot_be_a_metric_is_refused(gives: Any, makes: Any, says: str) -> None:
    with pytest.raises(TrainingFailedError, match=says):
        judged(gives, makes)


def test_nan_is_a_metric_like_any_other() -> None:
    assert math.isnan(judged(lambda x: 1, lambda *_: {"score": float("nan")})["score"])


def test_early_stopping_may_wait_for_a_metric_that_only_the_whole_split_has(workspace: Path) -> None:
    change = {
        "model": {"target": "judged:Forecaster", "params": {}},
        "data": {"target": "judged:series", "params": {"held_out": 8}},
        "training": {"max_epochs": 1, "early_stopping": {"enabled": True, "monitor": "val/rmse"}},
    }
    ended = work(new_run(workspace, change), workspace)
    assert ended.of_kind("new_best")[0]["metric"] == "val/rmse"
    wrong = merged(change, {"training": {"early_stopping": {"monitor": "val/counts"}}})
    ended = work(new_run(workspace, wrong), workspace)
    assert (ended.code, ended.terminal["kind"]) == (3, "run_failed")
    assert "val/rmse" in ended.output


def test_a_sum_in_training_is_refused_before_training() -> None:
    from kladml_core import TrainingConfig

    class Both(Judged):
        def training_step(self, module: nn.Module, batch: Any) -> Any:
            return {"loss": module(batch[0]).square().mean(), "seen": Sum(1)}

    trainer = UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=4), device="cpu")
    with pytest.raises(UnusableError, match="seen is a Sum, and training adds nothing up"):
        trainer.fit(Both({}), (torch.zeros(8, 2),))
