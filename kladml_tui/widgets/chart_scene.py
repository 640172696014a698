"""What a chart is asked to show: curves, marks, epochs, and how they are looked at. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kladml_tui.widgets.chart_view import Limits, View

if TYPE_CHECKING:
    from kladml_core.metrics.series import Series

Drawing = Literal["braille", "block", "ascii"]
MarkKind = Literal["checkpoint", "best", "resume", "non_finite"]
_ALL = View()


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve to show."""

    label: str
    """Any text; it is made inert before it is shown."""
    series: Series
    colour_index: int = 0
    """Which of the theme's colours; they are taken in turn."""
    smoothed: bool = True
    """Show the moving average, and the values faint behind it."""
    marker: str = ""
    """One cell that stands on the curve here and there and in the legend, so that curves differ without colours."""
    raw: bool = True
    """Of a smoothed curve, show the values behind it; where there are many curves they would hide one another."""
    band: tuple[Series, Series] | None = None
    """A lower and an upper edge around the curve, with records at the same steps; filled faintly."""


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step."""

    step: int
    kind: MarkKind
    label: str = ""
    """Any text, such as the checkpoint's name; shown when the cursor is on it."""
    value: float | None = None
    """For a best value: which; the mark is then drawn on the curve as well."""


@dataclass(frozen=True)
class Scene:
    """Everything that a drawing depends on, apart from its size and colours."""

    curves: tuple[Curve, ...] = ()
    """Later ones are drawn over earlier ones."""
    marks: tuple[Mark, ...] = ()
    epochs: tuple[tuple[int, int], ...] = ()
    """(step at its end, number) of each finished epoch, rising."""
    view: View = _ALL
    drawing: Drawing = "braille"
    nothing: str = "no values yet"
    """What stands there while there is no value."""

    def data_limits(self) -> Limits | None:
        """Return the least and the greatest x of all curves, None while there is no value."""
        axis: Literal["step", "time"] = "time" if self.view.axis == "time" else "step"
        limits = [found for curve in self.curves if (found := curve.series.limits(axis)) is not None]
        return (min(low for low, _ in limits), max(high for _, high in limits)) if limits else None

    def nearest_record(self, x: float, within: float) -> float | None:
        """Return the step or time of the record nearest to x, None when none is so near."""
        axis: Literal["step", "time"] = "time" if self.view.axis == "time" else "step"
        readings = [found for curve in self.curves if (found := curve.series.at(x, axis)) is not None]
        places = [reading.time if axis == "time" else reading.step for reading in readings]
        nearest = min(places, key=lambda place: abs(place - x), default=None)
        return nearest if nearest is not None and abs(nearest - x) <= within else None

    def shows_the_same_as(self, other: Scene) -> bool:
        """Return whether a drawing of the other scene would look like this one's."""

        def keys(scene: Scene) -> list[tuple[object, ...]]:
            return [tuple(vars(curve).values()) for curve in scene.curves]

        return keys(self) == keys(other) and self._rest() == other._rest()

    def _rest(self) -> tuple[object, ...]:
        return self.marks, self.epochs, self.view, self.drawing, self.nothing
