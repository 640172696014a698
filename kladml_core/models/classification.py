"""A classifier in PyTorch: cross-entropy to train by, accuracy and macro-F1 over the whole split to judge by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.errors import TrainingFailedError
from kladml_core.models.sums import Sum
from kladml_core.models.task import MLTask
from kladml_core.models.torch_model import StepOutput, TorchModel

_COUNTS = "counts"
"""What `validation_step` adds up for `macro_f1`: int64 [classes, 2], of each class 2 TP, and FP + FN."""


class ClassificationModel(TorchModel):
    """A model that needs `build` alone: batches are `(x, y)`, and the module gives logits.

    Logits are [n, classes, …] with targets int64 [n, …]; or [n] or [n, 1] for two classes, with targets 0 and 1.

    These keys of `config` are read here, beside the model's own:
        class_weights: one number a class, for the loss.
        label_smoothing: from 0 to 1, for the loss.
        ignore_index: a target that counts in nothing (padding, say).
        per_class: true logs `f1/<class>` for each class too.

    Validation gives `loss`, `accuracy` and `macro_f1`, each over the whole split. `macro_f1` is the plain mean of the
    classes' F1 = 2 TP / (2 TP + FP + FN) over the classes that occur among targets or predictions, as scikit-learn's
    `f1_score(average="macro")`; the counts are those of all batches and processes.
    """

    ml_task = MLTask.CLASSIFICATION

    def training_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """The loss of a batch, weighted by what it counts."""
        inputs, targets = batch
        return self.loss(module(inputs), targets)

    def validation_step(self, module: nn.Module, batch: Any) -> StepOutput:
        """`loss`, `accuracy`, and the counts of which `validation_metrics` makes `macro_f1`."""
        inputs, targets = batch
        logits = module(inputs)
        predicted, targets_seen = self._seen(logits, targets)
        seen = targets_seen.numel()
        # In float32 the share itself is rounded, and the sum over many batches with it.
        wide = torch.float32 if logits.device.type == "mps" else torch.float64
        found: dict[str, Any] = {
            "loss": self.loss(logits, targets),
            "accuracy": ((predicted == targets_seen).to(wide).sum() / max(seen, 1), seen),
        }
        classes = 2 if _is_binary(logits) else logits.shape[1]
        return {**found, _COUNTS: Sum(_counts(predicted, targets_seen, classes))}

    def validation_metrics(self, means: Mapping[str, float], sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The means and `macro_f1`, and `f1/<class>` where the config says `per_class`."""
        if _COUNTS not in sums:  # a subclass counts in its own way
            return means
        found = {**means, "macro_f1": macro_f1(sums[_COUNTS])}
        if self.config.get("per_class", False):
            by_class = _f1(sums[_COUNTS])
            found.update({f"f1/{label}": value for label, value in enumerate(by_class.tolist())})
        return found

    def predict_step(self, module: nn.Module, batch: Any) -> Tensor:
        """The most likely class of each row, int64 [n, …]."""
        return _classes(module(batch))

    @torch.no_grad()
    def predict_proba(self, X: Any, **kwargs: Any) -> Tensor:
        """The probability of each class, float [n, classes, …] on the CPU; arguments as `predict`."""
        return self._in_batches(_probabilities, X, **kwargs)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Cross-entropy: its mean over the rows, or `(mean, weight)` where rows do not count alike."""
        weights, ignored = self.config.get("class_weights"), self.config.get("ignore_index")
        smoothing = float(self.config.get("label_smoothing", 0.0))
        balance = None if weights is None else torch.as_tensor(weights, dtype=logits.dtype, device=logits.device)
        if _is_binary(logits):
            return self._binary_loss(logits, targets, balance, smoothing)
        _require_shapes(logits, targets)
        if ignored is None and balance is None:
            return F.cross_entropy(logits, targets, label_smoothing=smoothing)
        absent = -100 if ignored is None else int(ignored)
        counted = targets != absent
        weight = counted.sum() if balance is None else balance[targets[counted]].sum()
        total = F.cross_entropy(
            logits, targets, balance, ignore_index=absent, label_smoothing=smoothing, reduction="sum"
        )
        return total / weight.clamp(min=torch.finfo(logits.dtype).tiny), weight

    def _binary_loss(
        self, logits: Tensor, targets: Tensor, balance: Tensor | None, smoothing: float
    ) -> Tensor | tuple[Tensor, Tensor]:
        flat, truth = logits.reshape(-1), targets.reshape(-1)
        ignored = self.config.get("ignore_index")
        if flat.shape != truth.shape:
            raise _misfit(logits, targets)
        if ignored is not None:
            flat, truth = flat[truth != ignored], truth[truth != ignored]
        aim = truth.to(flat.dtype) * (1 - smoothing) + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(flat, aim, reduction="none")
        if balance is None and ignored is None:
            return losses.mean()
        weights = torch.ones_like(losses) if balance is None else balance[truth.long()]
        total = weights.sum()
        return (losses * weights).sum() / total.clamp(min=torch.finfo(flat.dtype).tiny), total

    def _seen(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true classes, flat, without what is ignored."""
        predicted = _classes(logits).reshape(-1)
        truth = (targets.argmax(dim=1) if _are_shares(logits, targets) else targets).reshape(-1).long()
        if predicted.shape != truth.shape:
            raise _misfit(logits, targets)
        ignored = self.config.get("ignore_index")
        if ignored is None:
            return predicted, truth
        return predicted[truth != ignored], truth[truth != ignored]


def macro_f1(counts: Tensor) -> float:
    """The mean F1 of the classes that occur; 0 where none does.

    Args:
        counts: int64 [classes, 2]: 2 TP, and FP + FN.
    """
    known = _f1(counts)
    known = known[~known.isnan()]
    return float(known.mean()) if len(known) else 0.0


def _f1(counts: Tensor) -> Tensor:
    """The F1 of each class, float64 [classes]; NaN for a class that is neither among targets nor predictions."""
    wide = counts.double()
    return wide[:, 0] / wide.sum(dim=1)


def _counts(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Of each class 2 TP, and FP + FN; int64 [classes, 2]."""
    right = truth[predicted == truth]
    hits = torch.bincount(right, minlength=classes)
    both = torch.bincount(predicted, minlength=classes) + torch.bincount(truth, minlength=classes)
    if len(both) > classes:
        raise TrainingFailedError(
            f"a target is {int(truth.max())}, but there are {classes} logits", hint="targets count from 0"
        )
    return torch.stack([2 * hits, both - 2 * hits], dim=1)


def _is_binary(logits: Tensor) -> bool:
    return logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1)


def _classes(logits: Tensor) -> Tensor:
    return (logits.reshape(-1) > 0).long() if _is_binary(logits) else logits.argmax(dim=1)


def _probabilities(module: nn.Module, batch: Any) -> Tensor:
    logits = module(batch)
    if _is_binary(logits):
        positive = logits.reshape(-1).sigmoid()
        return torch.stack([1 - positive, positive], dim=1)
    return logits.softmax(dim=1)


def _are_shares(logits: Tensor, targets: Tensor) -> bool:
    return targets.is_floating_point() and targets.shape == logits.shape and not _is_binary(logits)


def _require_shapes(logits: Tensor, targets: Tensor) -> None:
    if not _are_shares(logits, targets) and (logits.shape[0], *logits.shape[2:]) != tuple(targets.shape):
        raise _misfit(logits, targets)


def _misfit(logits: Tensor, targets: Tensor) -> TrainingFailedError:
    shapes = f"logits {list(logits.shape)} and targets {list(targets.shape)}"
    return TrainingFailedError(f"{shapes} do not fit", hint="give [n, classes, …] and int64 [n, …]")
