"""Where live messages of a run go: one interface, a console, a queue or the run directory behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class PublisherInterface(ABC):
    """Takes messages of the channels `metrics`, `events` and `status`."""

    @abstractmethod
    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Takes one message; must return at once and must not raise into training."""
