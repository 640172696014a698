"""Which curves belong on one chart, and the marks that events put on it. Needs numpy: not before the first frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kladml_core.runs.files import number as json_number
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


def marks(events: Iterable[Mapping[str, Any]], metrics: Sequence[str]) -> list[Mark]:
    """Checkpoints, the best value so far, and resumes."""
    found: list[Mark] = []
    best: Mark | None = None
    for event in events:
        kind, step = event.get("kind"), event.get("step")
        if not isinstance(step, int):
            continue
        if kind == "checkpoint_saved":
            found.append(Mark(step, "checkpoint", str(event.get("name", "checkpoint"))))
        elif kind == "resumed":
            # What lay beyond the resumed step was given up, and its marks with it.
            while found and found[-1].step > step:
                found.pop()
            best = best if best is not None and best.step <= step else None
            found.append(Mark(step, "resume", f"attempt {event.get('attempt', '?')}"))
        elif kind == "new_best" and event.get("metric") in metrics:
            best = Mark(step, "best", f"best {event['metric']}", _finite(event.get("value")))
    return [*found, best] if best is not None else found


def epochs(events: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """(step at its end, number) of each finished epoch, rising; of a repeated epoch the last."""
    ends: list[tuple[int, int]] = []
    for event in events:
        step, epoch = event.get("step"), event.get("epoch")
        if event.get("kind") == "epoch_finished" and isinstance(step, int) and isinstance(epoch, int):
            while ends and (ends[-1][0] >= step or ends[-1][1] >= epoch):
                ends.pop()
            ends.append((step, epoch))
    return ends


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
