"""The public interfaces; each is one abstract class in a file of its own, loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_core.interfaces.config import ConfigInterface
    from kladml_core.interfaces.metadata import DatasetRecord, MetadataInterface, MetricRecord, RunRecord
    from kladml_core.interfaces.publisher import PublisherInterface
    from kladml_core.interfaces.storage import StorageInterface
    from kladml_core.interfaces.tracker import Measurement, TrackerInterface
    from kladml_core.interfaces.unsupported import UnsupportedOperation

_HOMES = {
    "ConfigInterface": "config",
    "DatasetRecord": "metadata",
    "Measurement": "tracker",
    "MetadataInterface": "metadata",
    "MetricRecord": "metadata",
    "PublisherInterface": "publisher",
    "RunRecord": "metadata",
    "StorageInterface": "storage",
    "TrackerInterface": "tracker",
    "UnsupportedOperation": "unsupported",
}

__all__ = [
    "ConfigInterface",
    "DatasetRecord",
    "Measurement",
    "MetadataInterface",
    "MetricRecord",
    "PublisherInterface",
    "RunRecord",
    "StorageInterface",
    "TrackerInterface",
    "UnsupportedOperation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
