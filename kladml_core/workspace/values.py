"""What can be known of a run by name (a field, a figure of a metric, a parameter): filtered by, sorted by and shown."""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from kladml_core.errors import ConfigError
from kladml_core.runs.status import STATUSES
from kladml_core.workspace.rows import MetricFigures, RunRow

Kind = Literal["field", "metric", "param", "either"]
FIGURES = ("last", "best", "min", "max")

FIELDS: Mapping[str, str] = {
    "name": "the run's reference",
    "project": "its project",
    "family": "its family",
    "experiment": "its experiment",
    "status": "running, finished, failed, …",
    "created": "when it was made",
    "started": "when its newest attempt began",
    "ended": "when it ended",
    "duration": "how long all its attempts took, e.g. 1h30m",
    "age": "how long ago it was made, e.g. 7d",
    "epoch": "how many epochs are done",
    "step": "how many steps are done",
    "attempt": "its newest attempt",
    "exit": "its exit code",
    "reason": "why it ended, stopped or stands still",
    "tags": "its tags",
    "note": "its note",
    "star": "whether it has a star",
}
"""The fields with what each holds."""

_ALIASES = {"run": "name", "tag": "tags", "took": "duration", "time": "duration", "exit_code": "exit"}
TIMES = frozenset({"created", "started", "ended"})
SPANS = frozenset({"duration", "age"})
NUMBERS = frozenset({"epoch", "step", "attempt", "exit"})
GREATER_IS_BETTER = (
    "accuracy",
    "acc",
    "f1",
    "auc",
    "auroc",
    "precision",
    "recall",
    "r2",
    "score",
    "reward",
    "iou",
    "bleu",
)
"""Ends of the names of metrics of which the greatest value is the best, where the run's config does not say."""

MONITOR = "training.early_stopping.monitor"
MODE = "training.early_stopping.mode"


@dataclass(frozen=True)
class Value:
    """One thing that can be known of a run."""

    kind: Kind
    """`either` is the last value of a metric of that name, or a parameter where the run has no such metric."""
    name: str
    figure: str = "last"
    """Of a metric: last, best, min or max."""

    def __str__(self) -> str:
        """As it is written: `best:val/loss`, `model.params.width`."""
        if self.kind == "metric":
            return f"{self.figure}:{self.name}"
        return f"param:{self.name}" if self.kind == "param" else self.name

    @property
    def title(self) -> str:
        """As it heads a column: a run's metric by its name, with its figure where that is not the last."""
        if self.kind == "metric":
            return self.name if self.figure == "last" else f"{self.figure} {self.name}"
        return self.name


def value_named(text: str) -> Value:
    """The value that a text names: a field, `last:`, `best:`, `min:` or `max:` and a metric, `param:` and a parameter,
    or the bare name of a metric or a parameter.

    Raises:
        ConfigError: the text is empty, or so near the name of a field that it must be a slip.
    """
    prefix, colon, rest = text.partition(":")
    if colon and rest and prefix in FIGURES:
        return Value("metric", rest, prefix)
    if colon and rest and prefix == "param":
        return Value("param", rest)
    name = _ALIASES.get(text, text)
    if name in FIELDS:
        return Value("field", name)
    if not text.strip():
        raise ConfigError("nothing is named", hint=f"The fields are {', '.join(FIELDS)}")
    close = get_close_matches(text, [*FIELDS, *_ALIASES], n=1, cutoff=0.75)
    if close and "." not in text and "/" not in text:
        hint = f"Did you mean {close[0]}? A metric is written last:{text}, a parameter param:{text}"
        raise ConfigError(f"there is no field {text!r}", hint=hint)
    return Value("either", text)


def lookup(value: Value) -> Callable[[RunRow], object]:
    """A function that gives this value of a run: a number, a text, True for a star, a tuple of tags; None where the
    run has none. Of times and spans seconds, of parameters what the config says."""
    name = value.name
    if value.kind == "field":
        return _FIELD[name]
    if value.kind == "param":
        return lambda row: row.params.get(name)
    if value.kind == "metric":
        return lambda row: figure_of(row, name, value.figure)[0]

    def either(row: RunRow) -> object:
        figures = row.metrics.get(name)
        return row.params.get(name) if figures is None else figures.last

    return either


def step_of(value: Value, row: RunRow) -> int | None:
    """The step that a metric's value belongs to; None of anything else."""
    if value.kind not in ("metric", "either"):
        return None
    return figure_of(row, value.name, value.figure)[1]


def figure_of(row: RunRow, metric: str, figure: str) -> tuple[float | None, int | None]:
    """A figure of a metric and its step; (None, None) where the run has none."""
    found = row.metrics.get(metric)
    if found is None:
        return None, None
    if figure == "best":
        figure = best_is(metric, row.params)
    return _FIGURE[figure](found)


def best_is(metric: str, params: Mapping[str, Any]) -> str:
    """Whether the least (`min`) or the greatest (`max`) value of a metric is its best.

    Where the run's config judges by this metric it says so itself; else names such as val/accuracy mean the greatest.
    """
    if str(params.get(MONITOR, "val/loss")) == metric and MODE in params:
        return "max" if params[MODE] == "max" else "min"
    return "max" if metric.lower().endswith(GREATER_IS_BETTER) else "min"


def param_text(value: object) -> str:
    """A parameter as a filter compares it: text as it is, true, false and null, the rest as JSON."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def number_of(value: object) -> float | None:
    """A value as a number; None where it is none. True and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def fold(text: str) -> str:
    """The text without the differences that a search does not make: case, and how accents are written."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def varying(rows: Iterable[RunRow]) -> tuple[str, ...]:
    """The parameters in which runs differ; those of the first run first.

    One that a run lacks differs from one that has a value; null and an empty mapping are none. What names a run
    (project, family, experiment) is no parameter here.
    """
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    differ: set[str] = set()
    total = 0
    for row in rows:
        if not row.params:
            continue  # its config could not be read: nothing is known of it
        total += 1
        for key, value in row.params.items():
            if value is None or value == {}:
                continue
            text = param_text(value)
            counts[key] = counts.get(key, 0) + 1
            if first.setdefault(key, text) != text:
                differ.add(key)
    return tuple(key for key in first if key not in _NAMES and (key in differ or counts[key] < total))


def sort_rows(rows: Sequence[RunRow], by: Value, *, reverse: bool = False) -> list[RunRow]:
    """Runs by a value, the least first: numbers, then text, then NaN; those without one last, whatever the direction.

    Equal ones stay in the order in which they came.
    """
    find = _SORT.get(by.name) if by.kind == "field" else None
    get = find or lookup(by)
    numbers: list[tuple[float, RunRow]] = []
    texts: list[tuple[Any, RunRow]] = []
    odd: list[RunRow] = []
    missing: list[RunRow] = []
    for row in rows:
        value = get(row)
        number = number_of(value)
        if number is not None:
            odd.append(row) if math.isnan(number) else numbers.append((number, row))
        elif value is None or value in ("", ()):
            missing.append(row)
        elif isinstance(value, tuple):
            texts.append((value, row))
        else:
            texts.append(((fold(param_text(value)),), row))
    numbers.sort(key=_first, reverse=reverse)
    texts.sort(key=_first, reverse=reverse)
    groups = [texts, numbers] if reverse else [numbers, texts]
    return [*(row for group in groups for _, row in group), *odd, *missing]


def _first(pair: tuple[Any, RunRow]) -> Any:
    return pair[0]


def run_order(reference: str) -> tuple[str, str, str, int, str]:
    """What runs are sorted by when they are sorted by name: run_0010 comes after run_0009."""
    *above, name = reference.split("/")
    project, family, experiment = (*above, "", "", "")[:3]
    digits = name.rpartition("_")[2]
    return project, family, experiment, int(digits) if digits.isdecimal() else 0, name


_NAMES = frozenset({"project", "family", "experiment"})
_PLACE = {name: place for place, name in enumerate((*STATUSES[:2], "running", "stalled", "silent", *STATUSES[3:]))}

_FIGURE: Mapping[str, Callable[[MetricFigures], tuple[float | None, int | None]]] = {
    "last": lambda found: (found.last, found.last_step),
    "min": lambda found: (found.minimum, found.minimum_step),
    "max": lambda found: (found.maximum, found.maximum_step),
}


def _part(number: int) -> Callable[[RunRow], object]:
    return lambda row: row.reference.split("/")[number]


_FIELD: Mapping[str, Callable[[RunRow], object]] = {
    "name": lambda row: row.reference,
    "project": _part(0),
    "family": _part(1),
    "experiment": _part(2),
    "status": lambda row: row.status.word,
    "created": lambda row: row.status.created,
    "started": lambda row: row.status.started,
    "ended": lambda row: row.status.ended,
    "duration": lambda row: row.status.total_seconds,
    "age": lambda row: None if row.status.created is None else time.time() - row.status.created,
    "epoch": lambda row: row.status.epoch,
    "step": lambda row: row.status.step,
    "attempt": lambda row: row.status.attempt,
    "exit": lambda row: row.status.exit_code,
    "reason": lambda row: row.status.why or row.status.reason,
    "tags": lambda row: row.tags,
    "note": lambda row: row.note,
    "star": lambda row: row.star or None,
}

_SORT: Mapping[str, Callable[[RunRow], object]] = {
    "name": lambda row: run_order(row.reference),
    "status": lambda row: _PLACE.get(row.status.word, len(_PLACE)),
    "tags": lambda row: tuple(map(fold, row.tags)),
}
