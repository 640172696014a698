"""When a listed run has its next turn in a process that sends runs away, and by which settings it is sent."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from kladml_core.errors import KladMLError
from kladml_core.runs.background import log
from kladml_core.settings import FILE_NAME, Settings, load_settings

FIRST_WAIT = 1.0
"""Seconds until a failed turn is tried again; doubled with each failure."""
PATIENCE_SECONDS = 24 * 3600.0
"""After so long without success a run waits for its next launch, or `kladml-tui sync`."""


@dataclass
class Turns:
    """The turns of one run."""

    due: float = 0.0
    """When the next one is, on the monotonic clock."""
    failures: int = 0
    """Turns that have failed since one went well."""
    since: float | None = None
    """Unix time of the first of them."""
    parked: bool = False
    """Whether the run is left until it is listed anew, or the settings change."""

    def at_once(self) -> None:
        """Lets the run begin afresh: it was listed anew, or is to be sent elsewhere."""
        self.due, self.failures, self.since, self.parked = 0.0, 0, None, False

    def went_well(self, pause: float) -> None:
        """The next turn is `pause` seconds from now."""
        self.due, self.failures, self.since = time.monotonic() + pause, 0, None

    def failed(self, longest_wait: float, *, refused: bool = False) -> float:
        """Returns the seconds until the next turn; the run is parked where that is of no use any more.

        Args:
            longest_wait: seconds that no pause is much longer than.
            refused: the next turn would end as this one did.
        """
        self.since = self.since or time.time()
        self.parked = refused or time.time() - self.since > PATIENCE_SECONDS
        pause = min(longest_wait, FIRST_WAIT * 2 ** min(self.failures, 20)) * random.uniform(0.5, 1.5)
        self.due = time.monotonic() + pause
        self.failures += 1
        return pause


class CurrentSettings:
    """A workspace's settings while its kladml.yaml may be edited.

    Args:
        settings: as they were just loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self.now = settings
        """As they were read last."""
        self._seen = _stamp(settings)

    def look(self) -> None:
        """Reads kladml.yaml again where it has changed; one that cannot be read leaves the earlier settings."""
        seen = _stamp(self.now)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.now = load_settings(self.now.root)
        except KladMLError as error:
            log(f"kladml.yaml cannot be read, the settings are the earlier ones: {error}")


def _stamp(settings: Settings) -> tuple[int, int] | None:
    try:
        found = (settings.root / FILE_NAME).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
