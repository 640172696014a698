"""Settings by dotted key: one interface, a YAML file or the environment behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class ConfigInterface(ABC):
    """Reads and writes settings by dotted key, e.g. `ui.theme`."""

    @abstractmethod
    def get(self, key: str, default: Any = None) -> Any:
        """The value under a dotted key, or `default` where there is none."""

    @abstractmethod
    def set(self, key: str, value: Any) -> None:
        """Sets the value under a dotted key."""
