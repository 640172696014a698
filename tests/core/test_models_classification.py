"""ClassificationModel: metrics equal scikit-learn's on the whole split, however it is cut into batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core import ClassificationModel, MLTask
from kladml_core.errors import TrainingFailedError


class Linear(ClassificationModel):
    def build(self) -> nn.Module:
        return nn.Linear(5, self.config.get("classes", 4))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Initial weights are drawn from torch's own generator, which the tests before have left anywhere."""
    torch.manual_seed(0)


def table(rows: int = 103, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(rows, 5, generator=generator)
    return x, (x[:, 0] * 2 + torch.randn(rows, generator=generator)).round().long().clamp(0, classes - 1)


def in_full(probabilities: Tensor) -> Tensor:
    """Rows that sum to one in float64, as scikit-learn wants them."""
    return probabilities.double() / probabilities.double().sum(dim=1, keepdim=True)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 103])
def test_accuracy_and_macro_f1_are_those_of_the_whole_split(batch_size: int) -> None:
    x, y = table()
    model = Linear({"per_class": True})
    found = model.evaluate(x, y, batch_size=batch_size)
    predicted = model.predict(x)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, predicted), abs=1e-12)
    assert found["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"), abs=1e-12)
    assert found["loss"] == pytest.approx(log_loss(y, in_full(model.predict_proba(x)), labels=range(4)), rel=1e-5)
    by_class = f1_score(y, predicted, average=None, labels=range(4), zero_division=0)
    for label in range(4):
        if ((y == label) | (predicted == label)).any():
            assert found[f"f1/{label}"] == pytest.approx(by_class[label], abs=1e-12)


def test_a_mean_of_batch_means_would_be_another_number() -> None:
    x, y = table()
    model = Linear()
    nn.init.zeros_(model.module.weight)  # type: ignore[arg-type]
    nn.init.zeros_(model.module.bias)  # type: ignore[arg-type]
    # It says class 0 of everything: a batch in which other classes are missing is no better model for it.
    parts = [model.evaluate(x[i : i + 7], y[i : i + 7])["macro_f1"] for i in range(0, len(x), 7)]
    assert abs(np.mean(parts) - model.evaluate(x, y, batch_size=7)["macro_f1"]) > 0.01


def test_macro_f1_leaves_out_classes_that_never_occur_and_is_zero_when_all_is_wrong() -> None:
    model = Linear({"classes": 9})
    nn.init.zeros_(model.module.weight)  # type: ignore[arg-type]
    nn.init.zeros_(model.module.bias)  # type: ignore[arg-type]
    x = torch.zeros(4, 5)
    assert model.evaluate(x, torch.zeros(4, dtype=torch.int64))["macro_f1"] == 1.0
    assert model.evaluate(x, torch.full((4,), 8))["macro_f1"] == 0.0


def test_one_logit_is_two_classes() -> None:
    x, y = table(classes=2)
    model = Linear({"classes": 1})
    found = model.evaluate(x, y, batch_size=10)
    predicted = model.predict(x)
    probabilities = model.predict_proba(x)
    assert probabilities.shape == (103, 2)
    assert torch.equal(probabilities.argmax(dim=1), predicted)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert found["loss"] == pytest.approx(log_loss(y, in_full(probabilities)), rel=1e-5)


@pytest.mark.parametrize("classes", [1, 4])
def test_class_weights_weight_the_loss_of_the_whole_split(classes: int) -> None:
    x, y = table(classes=max(2, classes))
    weights = [1.0, 5.0, 0.5, 2.0][: max(2, classes)]
    model = Linear({"classes": classes, "class_weights": weights})
    with torch.no_grad():
        logits = model.module(x)
    if classes == 1:
        balance = torch.tensor(weights)[y]
        each = F.binary_cross_entropy_with_logits(logits.squeeze(1), y.float(), reduction="none")
        expected = float((each * balance).sum() / balance.sum())
    else:
        expected = float(F.cross_entropy(logits, y, torch.tensor(weights)))
    assert model.evaluate(x, y, batch_size=8)["loss"] == pytest.approx(expected, rel=1e-5)


class Tagger(ClassificationModel):
    """Tokens [n, time] to a class each; logits [n, classes, time]."""

    def build(self) -> nn.Module:
        return nn.Embedding(11, 3)

    def training_step(self, module: nn.Module, batch: Any) -> Any:
        return self.loss(module(batch[0]).movedim(-1, 1), batch[1])

    def validation_step(self, module: nn.Module, batch: Any) -> Any:
        return super().validation_step(lambda tokens: module(tokens).movedim(-1, 1), batch)  # type: ignore[arg-type]


def test_padding_counts_in_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 11, (20, 6), generator=generator)
    tags = torch.randint(0, 3, (20, 6), generator=generator)
    tags[torch.rand(20, 6, generator=generator) < 0.4] = -1
    model = Tagger({"ignore_index": -1})
    found = model.evaluate(tokens, tags, batch_size=3)
    with torch.no_grad():
        logits = model.module(tokens).movedim(-1, 1)
    seen = tags != -1
    truth, predicted = tags[seen], logits.argmax(dim=1)[seen]
    assert found["loss"] == pytest.approx(float(F.cross_entropy(logits, tags, ignore_index=-1)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_it_learns_from_numpy_arrays_saves_and_loads(tmp_path: Path) -> None:
    x, y = (tensor.numpy() for tensor in table(classes=2))
    model = Linear({"classes": 2})
    metrics = model.train(x.astype(np.float64), y, x, y, max_epochs=15, learning_rate=0.05, batch_size=16)
    assert metrics["val/accuracy"] > 0.75
    assert metrics["val/macro_f1"] == pytest.approx(f1_score(y, model.predict(x), average="macro"), abs=1e-12)
    model.save(tmp_path / "model")
    other = Linear().load(tmp_path / "model")
    assert other.config == {"classes": 2}
    assert torch.equal(other.predict(x.tolist()), model.predict(x))
    assert model.ml_task == MLTask.CLASSIFICATION


def test_targets_that_do_not_fit_are_told_with_both_shapes() -> None:
    x, y = table()
    with pytest.raises(TrainingFailedError, match=r"\[103, 4\] and targets \[103, 1\]"):
        Linear().evaluate(x, y.unsqueeze(1))
    with pytest.raises((TrainingFailedError, IndexError)):
        Linear({"classes": 2}).evaluate(x, y)
