"""How long each rung of the stop ladder waits: derived from what the run's config promises and from its pace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeGuard

from kladml_core.config.load import read
from kladml_core.errors import KladMLError
from kladml_core.runs.rundir import RunDirectory

GRACE_SECONDS = 30.0
"""training.grace_seconds where the config cannot be read."""
LAST_SECONDS = 5.0
STEPS = 2


@dataclass(frozen=True)
class Patience:
    """Seconds of each rung."""

    ask: float
    """From the request to SIGTERM."""
    term: float
    """From SIGTERM, after which the worker may save a checkpoint, to a second one, which ends it at once."""
    last: float = LAST_SECONDS
    """From there to SIGKILL; also what a run that has ended gives its processes to go."""


def patience_of(run: RunDirectory, *, ask: float | None = None, term: float | None = None) -> Patience:
    """What suits a run: its grace_seconds on each rung, and on the first the two steps that may pass before it.

    Args:
        ask: seconds to use instead on the first rung.
        term: seconds to use instead on the second.
    """
    grace = GRACE_SECONDS
    try:
        training = read(run.config).data.get("training")
    except KladMLError:
        training = None  # the run is stopped whatever has become of its config
    if isinstance(training, dict) and _is_seconds(training.get("grace_seconds")):
        grace = float(training["grace_seconds"])
    pace = (run.read_state() or {}).get("step_seconds")
    steps = STEPS * float(pace) if _is_seconds(pace) else 0.0
    found = Patience(ask=grace + steps, term=grace)
    return replace(found, ask=found.ask if ask is None else ask, term=found.term if term is None else term)


def _is_seconds(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
