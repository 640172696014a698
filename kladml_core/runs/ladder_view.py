"""How a stop stands, as the screen, the command and a program see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kladml_core.runs.status import RunStatus

Rung = Literal["ask", "term", "kill", "over"]
Outcome = Literal["", "ended", "asked", "cancelled", "stuck"]


@dataclass(frozen=True)
class Told:
    """Something that happened on the ladder."""

    time: float
    """Unix seconds."""
    rung: Rung
    message: str


@dataclass(frozen=True)
class LadderView:
    """How a stop stands, frozen at one moment."""

    reference: str
    rung: Rung
    status: RunStatus
    next: str = ""
    """What comes when the seconds are over: `SIGTERM`, `SIGKILL`, or nothing where no signal can be sent from here."""
    seconds: float | None = None
    """Until then."""
    processes: int = 0
    """Living processes of the tree on this machine."""
    told: tuple[Told, ...] = ()
    """Everything so far, oldest first."""
    outcome: Outcome = ""
    """How it ended, once the rung is `over`: ended; asked and still running; cancelled; stuck in the system."""

    @property
    def cancellable(self) -> bool:
        """Whether the run can still be left to go on."""
        return self.rung == "ask"

    @property
    def brief(self) -> str:
        """As `text` in a few cells: `SIGTERM in 24s`."""
        if self.seconds is None:
            return f"killing {count_processes(self.processes)}"
        return f"{self.next} in {self.seconds:.0f}s" if self.next else f"only asked, {self.seconds:.0f}s"

    @property
    def text(self) -> str:
        """One line: `asked to stop; SIGTERM in 24 s`."""
        if self.rung == "over":
            return self.told[-1].message if self.told else ""
        what = {"ask": "asked to stop", "term": "SIGTERM sent", "kill": "SIGKILL sent"}[self.rung]
        if not self.status.live:
            what = f"{self.status.status}; waiting for {count_processes(self.processes)} to go"
        if self.seconds is None:
            return what
        then = f"{self.next} in" if self.next else "waiting"
        return f"{what}; {then} {max(0.0, self.seconds):.0f} s"


def count_processes(processes: int) -> str:
    """`1 process`, `3 processes`."""
    return "1 process" if processes == 1 else f"{processes} processes"
