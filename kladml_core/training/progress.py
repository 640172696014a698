"""How far a run is: the counters that a checkpoint holds and that say where to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """Counters of a run, over all its attempts."""

    step: int = 0
    """Optimizer steps made."""
    epoch: int = 0
    """Epochs finished."""
    micro: int = 0
    """Micro-batches of the epoch under way that are done."""
    samples: int = 0
    """Samples trained on, over all ranks."""
    skipped: int = 0
    """Updates left out because something was not finite."""
    fits: int = 0
    """Samples that fit into memory at once, found by running out of it (oom: halve); 0 where all did."""
    unvalidated: bool = False
    """A validation is due at this step and has not been finished."""

    @property
    def number(self) -> int:
        """The epoch under way or, between two, the one just finished, counted from 1 (0 before the first step)."""
        return self.epoch if not self.micro else self.epoch + 1

    def state_dict(self) -> dict[str, Any]:
        """The counters as JSON values."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        for name in vars(self):
            if name in state:
                setattr(self, name, type(getattr(self, name))(state[name]))
