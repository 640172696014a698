"""The least a model must offer: train, predict, evaluate, save, load. Imports no torch."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kladml_core.models.task import MLTask


class BaseModel(ABC):
    """A model of any library. A scikit-learn estimator becomes one in twenty lines.

    Args:
        config: the model's parameters, `model.params` of a run's config.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config: dict[str, Any] = dict(config or {})

    @property
    @abstractmethod
    def ml_task(self) -> MLTask:
        """What the model is for. A plain class attribute overrides this as well."""

    @abstractmethod
    def train(
        self, X_train: Any, y_train: Any = None, X_val: Any = None, y_val: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Fits the model and returns its metrics by name."""

    @abstractmethod
    def predict(self, X: Any, **kwargs: Any) -> Any:
        """Predictions for `X`, one per row."""

    @abstractmethod
    def evaluate(self, X_test: Any, y_test: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Metrics by name on data the model has not seen."""

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Writes the model into the directory `path`, which is made when missing."""

    @abstractmethod
    def load(self, path: str | Path) -> Any:
        """Reads what `save` wrote into this instance."""


def takes_config(model_class: type) -> bool:
    """Whether a constructor takes its parameters as `config`, as BaseModel's own does."""
    try:
        return "config" in inspect.signature(model_class).parameters
    except (TypeError, ValueError):
        return False
