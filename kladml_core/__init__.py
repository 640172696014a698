"""KladML's core: train PyTorch models, follow their runs. The public names are loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kladml_core.version import __version__

if TYPE_CHECKING:
    from kladml_core.config.schema import TrainingConfig
    from kladml_core.models.base import BaseModel
    from kladml_core.models.classification import ClassificationModel
    from kladml_core.models.sums import Sum
    from kladml_core.models.task import MLTask
    from kladml_core.models.timeseries import TimeSeriesModel
    from kladml_core.models.torch_model import TorchModel
    from kladml_core.runner import ExperimentRunner
    from kladml_core.training.trainer import UniversalTrainer

_HOMES = {
    "BaseModel": "kladml_core.models.base",
    "ClassificationModel": "kladml_core.models.classification",
    "ExperimentRunner": "kladml_core.runner",
    "MLTask": "kladml_core.models.task",
    "Sum": "kladml_core.models.sums",
    "TimeSeriesModel": "kladml_core.models.timeseries",
    "TorchModel": "kladml_core.models.torch_model",
    "TrainingConfig": "kladml_core.config.schema",
    "UniversalTrainer": "kladml_core.training.trainer",
}

__all__ = [
    "BaseModel",
    "ClassificationModel",
    "ExperimentRunner",
    "MLTask",
    "Sum",
    "TimeSeriesModel",
    "TorchModel",
    "TrainingConfig",
    "UniversalTrainer",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
