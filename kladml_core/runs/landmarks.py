"""What a run's events say of places on its curves: checkpoints, resumes, the best values, the ends of epochs.

A follower keeps the newest events whole; of older ones this much stays, in a space that does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

MOST = 4096
"""Of a kind so many are kept: of more every second, fourth, …, and the newest. No screen has so many columns."""


class Place(NamedTuple):
    """A step and what is there."""

    step: int
    what: str
    """A checkpoint's name, or which attempt went on from here."""


class Best(NamedTuple):
    """The best value of a metric so far."""

    step: int
    value: Any
    """As the event has it: a number, or the name of one that is not finite."""


@dataclass(frozen=True)
class Landmarks:
    """The places as they are at one moment, each kind by rising step but where a resume went back."""

    checkpoints: tuple[Place, ...] = ()
    resumes: tuple[Place, ...] = ()
    best: Mapping[str, Best] = field(default_factory=lambda: MappingProxyType({}))
    """By metric."""
    epochs: tuple[tuple[int, int], ...] = ()
    """(step at its end, number) of each finished epoch, rising; of a repeated epoch the last."""


class LandmarkBuffer:
    """Takes events in their order and keeps the landmarks."""

    def __init__(self) -> None:
        self._checkpoints: _Thinned[Place] = _Thinned()
        self._resumes: _Thinned[Place] = _Thinned()
        self._best: dict[str, Best] = {}
        self._epochs: _Thinned[tuple[int, int]] = _Thinned()
        self._now: Landmarks | None = Landmarks()

    def take(self, event: Mapping[str, Any]) -> None:
        """Works one event in; most say nothing of a place."""
        kind, step, epoch = event.get("kind"), event.get("step"), event.get("epoch")
        if not isinstance(step, int):
            return
        if kind == "checkpoint_saved":
            self._checkpoints.append(Place(step, str(event.get("name", "checkpoint"))))
        elif kind == "resumed":
            self._go_back(step, str(event.get("attempt", "?")))
        elif kind == "new_best":
            self._best[str(event.get("metric"))] = Best(step, event.get("value"))
        elif kind == "epoch_finished" and isinstance(epoch, int):
            self._epochs.cut(lambda end: end[0] >= step or end[1] >= epoch)
            self._epochs.append((step, epoch))
        else:
            return
        self._now = None

    def snapshot(self) -> Landmarks:
        """The landmarks as they are now; the same object as long as nothing has changed."""
        if self._now is None:
            self._now = Landmarks(
                self._checkpoints.kept(),
                self._resumes.kept(),
                MappingProxyType(dict(self._best)),
                self._epochs.kept(),
            )
        return self._now

    def _go_back(self, step: int, attempt: str) -> None:
        """What lay beyond the resumed step was given up, and its landmarks with it."""
        for places in (self._checkpoints, self._resumes):
            places.cut(lambda place: place.step > step)
        self._best = {metric: best for metric, best in self._best.items() if best.step <= step}
        self._resumes.append(Place(step, attempt))


class _Thinned(Generic[T]):
    """Of all that is appended a part that is spread evenly, and the newest."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, T]] = []
        self._stride = 1

    def append(self, item: T) -> None:
        """Adds one; lets others go where there are too many."""
        number = self._kept[-1][0] + 1 if self._kept else 0
        if self._kept and self._kept[-1][0] % self._stride:
            self._kept.pop()  # it stayed only as the newest
        self._kept.append((number, item))
        if len(self._kept) > MOST:
            self._stride *= 2
            self._kept = [kept for kept in self._kept if kept[0] % self._stride == 0 or kept[0] == number]

    def cut(self, beyond: Callable[[T], bool]) -> None:
        """Takes back the newest ones, as long as they are beyond something."""
        while self._kept and beyond(self._kept[-1][1]):
            self._kept.pop()

    def kept(self) -> tuple[T, ...]:
        """What is left, oldest first."""
        return tuple(item for _, item in self._kept)


def landmarks(events: Iterable[Mapping[str, Any]]) -> Landmarks:
    """The landmarks of a run whose events are all at hand."""
    buffer = LandmarkBuffer()
    for event in events:
        buffer.take(event)
    return buffer.snapshot()
