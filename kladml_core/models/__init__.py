"""Models: what a person brings to be trained. Names are loaded on first use, so that BaseModel costs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_core.models.base import BaseModel
    from kladml_core.models.classification import ClassificationModel
    from kladml_core.models.sums import Sum
    from kladml_core.models.task import MLTask
    from kladml_core.models.timeseries import TimeSeriesModel
    from kladml_core.models.torch_model import TorchModel

_HOMES = {
    "BaseModel": "base",
    "ClassificationModel": "classification",
    "MLTask": "task",
    "Sum": "sums",
    "TimeSeriesModel": "timeseries",
    "TorchModel": "torch_model",
}

__all__ = ["BaseModel", "ClassificationModel", "MLTask", "Sum", "TimeSeriesModel", "TorchModel"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
