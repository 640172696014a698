"""How a run stands, in so few words that it can be kept in memory for every run of a workspace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunState:
    """What is kept in memory of each run of a workspace."""

    status: str
    changed: float
    """When its state was last written, unix seconds; 0 where there is none."""
    live: bool = False
    """Whether more is to come of it."""
    standstill: str = ""
    """`stalled` or `silent`, of a run that does not get on."""
    place: int | None = None
    """In the queue, of one that waits; 1 is next."""
    stamp: str = ""
    """Changes when anything of the run has changed on the disk."""

    @property
    def word(self) -> str:
        """The status as it is shown, see `RunStatus.word`."""
        return self.standstill or self.status

    @property
    def words(self) -> str:
        """The word, with its place in the queue where it waits: `queued #3`."""
        return self.word if self.place is None else f"{self.word} #{self.place}"
