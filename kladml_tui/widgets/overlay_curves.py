"""The curves of several runs on one chart: one a run, or one a group of seeds with a band. Needs numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kladml_core.metrics.spread import spread_curve
from kladml_tui.widgets.chart import MANY_CURVES, Curve

if TYPE_CHECKING:
    from kladml_core.runs.overlay import RunCurve
    from kladml_tui.run_looks import RunLook

_FEW = 4
"""Of more curves only the smoothed lines are drawn: the values behind them would hide one another."""


def run_curves(curves: Sequence[RunCurve], names: Sequence[str], looks: Sequence[RunLook], metric: str) -> list[Curve]:
    """A curve for each run that has the metric."""
    smoothed = _is_smoothed(metric)
    few = sum(one.series is not None for one in curves) <= _FEW
    return [
        Curve(name, one.series, look.colour, smoothed=smoothed, marker=look.marker, raw=few)
        for one, name, look in zip(curves, names, looks, strict=True)
        if one.series is not None
    ]


def group_curves(
    curves: Sequence[RunCurve], groups: Mapping[str, Sequence[int]], looks: Sequence[RunLook], metric: str
) -> list[Curve]:
    """A curve for each group of runs, their mean, with a band of a standard deviation around it.

    Takes a while where there are many: call it in a thread.

    Args:
        curves: of all runs.
        groups: by name, the places of its runs.
        looks: of all runs; a group has that of its first.
        metric: their metric.
    """
    smoothed, few = _is_smoothed(metric), len(groups) <= MANY_CURVES
    found = []
    for name, places in groups.items():
        spread = spread_curve([series for at in places if (series := curves[at].series) is not None])
        if spread is None:
            continue
        look = looks[places[0]]
        band = (spread.low, spread.high) if few and spread.count > 1 else None
        label = f"{name} n={spread.count}"
        # The band stands in the place of the values behind the smoothed line.
        found.append(
            Curve(label, spread.mean, look.colour, smoothed=smoothed, marker=look.marker, raw=band is None, band=band)
        )
    return found


def _is_smoothed(metric: str) -> bool:
    return not metric.startswith(("val/", "test/"))
