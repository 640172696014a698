"""Which columns a table of runs has: values by name, and `params` and `metrics` for all that there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from kladml_core.errors import ConfigError
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.values import FIELDS, Value, value_named, varying

PARAMS = "params"
METRICS = "metrics"
EXPORTED = ("name", "status", "created", "duration", "epoch", "step", METRICS, PARAMS, "tags", "note", "star")
"""What an export holds where nobody says which columns it shall have."""


def check_columns(names: Iterable[str]) -> None:
    """Sees whether these can be columns.

    Raises:
        ConfigError: one is empty, or a slip.
    """
    for name in names:
        if name in (PARAMS, METRICS):
            continue
        close = get_close_matches(name, (PARAMS, METRICS), n=1, cutoff=0.8)
        if close and name not in FIELDS:
            raise ConfigError(f"there is no column {name!r}", hint=f"Did you mean {close[0]}?")
        value_named(name)


def split_columns(text: str) -> tuple[str, ...]:
    """Names parted by commas, checked; raises as `check_columns`."""
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    check_columns(names)
    return names


def columns_of(names: Sequence[str], rows: Sequence[RunRow]) -> tuple[Value, ...]:
    """The values that the columns show, with those of `params` and `metrics` in their place, none of them twice.

    Args:
        names: as `check_columns` takes them.
        rows: the runs that are shown: of their parameters only those that vary have a column.
    """
    found: dict[Value, None] = {}
    for name in names:
        if name == PARAMS:
            said = {value.name for value in found}
            found.update((Value("param", key), None) for key in varying(rows) if key not in said)
        elif name == METRICS:
            found.update((Value("metric", metric), None) for metric in metric_names(rows))
        else:
            found[value_named(name)] = None
    return tuple(found)


def metric_names(rows: Iterable[RunRow]) -> tuple[str, ...]:
    """The metrics that any of the runs has, those of validation first, losses before others."""
    names = {name for row in rows for name in row.metrics}
    return tuple(sorted(names, key=lambda name: (not name.startswith("val/"), not name.endswith("loss"), name)))


def needs_params(values: Iterable[Value], names: Iterable[str] = ()) -> bool:
    """Whether anything of this asks for parameters: `best` does too, since the config says what is best."""
    return PARAMS in names or any(
        value.kind in ("param", "either") or (value.kind == "metric" and value.figure == "best") for value in values
    )


def is_metric(value: Value, rows: Iterable[RunRow]) -> bool:
    """Whether a value is a metric's in any of these runs, and so has a step beside it."""
    return value.kind == "metric" or (value.kind == "either" and any(value.name in row.metrics for row in rows))
