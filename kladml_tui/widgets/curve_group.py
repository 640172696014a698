"""Which curves belong on one chart, and the marks that events put on it. Needs numpy: not before the first frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kladml_core.runs.files import number as json_number
from kladml_core.runs.landmarks import Landmarks
from kladml_tui.widgets.chart import Curve, Mark

if TYPE_CHECKING:
    from kladml_core.metrics.series import Series

_SPLITS = ("train", "val", "test")


def groups(metrics: Iterable[str]) -> dict[str, list[str]]:
    """Metrics by what they measure: train/loss and val/loss make `loss`, the group that comes first."""
    found: dict[str, list[str]] = {}
    for metric in sorted(metrics, key=_order):
        split, slash, rest = metric.partition("/")
        found.setdefault(rest if slash and split in _SPLITS else metric, []).append(metric)
    return found


def curves(names: Sequence[str], series: Mapping[str, Series]) -> list[Curve]:
    """The curves of one group; validation has few points and is shown as it is."""
    return [
        Curve(name, series[name], index, smoothed=not name.startswith(("val/", "test/")))
        for index, name in enumerate(names)
        if name in series
    ]


def marks(landmarks: Landmarks, metrics: Sequence[str]) -> list[Mark]:
    """Checkpoints, resumes, and the best value so far of what is shown."""
    found = [Mark(step, "checkpoint", name) for step, name in landmarks.checkpoints]
    found += [Mark(step, "resume", f"attempt {attempt}") for step, attempt in landmarks.resumes]
    shown = [(best, metric) for metric, best in landmarks.best.items() if metric in metrics]
    if shown:
        best, metric = max(shown, key=lambda one: one[0].step)
        found.append(Mark(best.step, "best", f"best {metric}", _finite(best.value)))
    return found


def _order(metric: str) -> tuple[int, str, int]:
    split, _, rest = metric.partition("/")
    place = _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)
    first = (
        0
        if (rest or metric) == "loss"
        else (2 if rest in ("learning_rate", "gradient_norm", "samples_per_second") else 1)
    )
    return first, rest or metric, place


def _finite(value: Any) -> float | None:
    try:
        found = json_number(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
