"""The implementations of the interfaces, loaded on first use: a console needs no numpy, a worker no queue."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_core.backends.console_publisher import ConsolePublisher
    from kladml_core.backends.env_config import EnvConfig
    from kladml_core.backends.local_storage import LocalStorage
    from kladml_core.backends.mlflow_tracker import LocalTracker, MLflowTracker
    from kladml_core.backends.queue_publisher import QueuePublisher
    from kladml_core.backends.run_log import RunLog
    from kladml_core.backends.s3_storage import S3Storage
    from kladml_core.backends.sqlite_metadata import SqliteMetadata
    from kladml_core.backends.yaml_config import YamlConfig

_HOMES = {
    "ConsolePublisher": "console_publisher",
    "EnvConfig": "env_config",
    "LocalStorage": "local_storage",
    "LocalTracker": "mlflow_tracker",
    "MLflowTracker": "mlflow_tracker",
    "QueuePublisher": "queue_publisher",
    "RunLog": "run_log",
    "S3Storage": "s3_storage",
    "SqliteMetadata": "sqlite_metadata",
    "YamlConfig": "yaml_config",
}

__all__ = [
    "ConsolePublisher",
    "EnvConfig",
    "LocalStorage",
    "LocalTracker",
    "MLflowTracker",
    "QueuePublisher",
    "RunLog",
    "S3Storage",
    "SqliteMetadata",
    "YamlConfig",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
