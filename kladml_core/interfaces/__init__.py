"""The public interfaces; each is one abstract class in a file of its own."""

from kladml_core.interfaces.config import ConfigInterface
from kladml_core.interfaces.metadata import DatasetRecord, MetadataInterface, MetricRecord, RunRecord
from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.interfaces.storage import StorageInterface
from kladml_core.interfaces.tracker import Measurement, TrackerInterface
from kladml_core.interfaces.unsupported import UnsupportedOperation

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
