"""Rows of a table of runs out of the index: what `rows.run_row` and `with_params` read from the files, much faster."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kladml_core.backends.sqlite_metadata import SqliteMetadata, stored, told
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus
from kladml_core.workspace.columns import METRICS, PARAMS
from kladml_core.workspace.rows import MetricFigures, RunRow
from kladml_core.workspace.values import MODE, MONITOR, Value

_STATUS = (
    "status", "stalled", "attempt", "pid", "host", "phase", "epoch", "step", "total_steps", "total_epochs", "heartbeat",
    "progress_at", "exit_code", "reason", "last_checkpoint", "created", "started", "ended", "earlier_seconds",
    "silence", "damaged",
)  # fmt: skip
_FIGURES = "last, last_step, min, min_step, max, max_step, count, non_finite"
_AT_ONCE = 500
"""References in one statement; of more than twice as many, all that there are is read."""


@dataclass(frozen=True)
class Wanted:
    """Which metrics and parameters rows shall hold; None is all."""

    metrics: frozenset[str] | None = None
    params: frozenset[str] | None = None

    def with_all_of(self, other: Wanted) -> Wanted:
        """What one of both asks for."""
        return Wanted(
            None if self.metrics is None or other.metrics is None else self.metrics | other.metrics,
            None if self.params is None or other.params is None else self.params | other.params,
        )

    def only(self, names: frozenset[str]) -> Wanted:
        """What it asks for of these names."""
        return Wanted(
            None if self.metrics is None else self.metrics & names,
            None if self.params is None else self.params & names,
        )


EVERYTHING = Wanted()


def wanted_for(values: Iterable[Value], lists: Iterable[str] = ()) -> Wanted:
    """What rows must hold to be filtered, sorted and shown by these values.

    Args:
        lists: names of columns, of which `params` and `metrics` mean all of these.
    """
    metrics, params = set(), set()
    for value in values:
        if value.kind in ("metric", "either"):
            metrics.add(value.name)
        if value.kind in ("param", "either"):
            params.add(value.name)
        if value.kind == "metric" and value.figure == "best":
            params |= {MONITOR, MODE}
    names = set(lists)
    return Wanted(
        None if METRICS in names else frozenset(metrics),
        None if PARAMS in names else frozenset(params),
    )


def read_rows(
    metadata: SqliteMetadata, data: Path, references: Iterable[str] | None = None, wanted: Wanted = EVERYTHING
) -> dict[str, RunRow]:
    """What the index knows of runs, by reference; those that it does not know are missing.

    Args:
        data: the workspace's data directory.
        references: of which runs; None is all.
        wanted: which metrics and parameters of them.

    Raises:
        sqlite3.Error: the index is damaged.
    """
    asked = None if references is None else list(dict.fromkeys(references))
    if asked is None or len(asked) > 2 * _AT_ONCE:
        rows = _read(metadata, [], data, wanted)
        return rows if asked is None else {reference: rows[reference] for reference in asked if reference in rows}
    found: dict[str, RunRow] = {}
    for begin in range(0, len(asked), _AT_ONCE):
        found.update(_read(metadata, [stored(one) for one in asked[begin : begin + _AT_ONCE]], data, wanted))
    return found


def _read(metadata: SqliteMetadata, keys: list[str | bytes], data: Path, wanted: Wanted) -> dict[str, RunRow]:
    where = f"reference IN ({', '.join('?' * len(keys))})" if keys else "true"
    of_runs = f"run IN (SELECT id FROM runs WHERE {where})" if keys else "true"
    metrics: dict[int, dict[str, MetricFigures]] = {}
    params: dict[int, dict[str, Any]] = {}
    tags: dict[int, tuple[str, ...]] = {}
    with metadata.lock:
        names = dict(metadata.query("SELECT id, name FROM names"))
        runs = metadata.query(f"SELECT id, reference, note, star, {', '.join(_STATUS)} FROM runs WHERE {where}", keys)
        for run, name, last, *figures in metadata.query(
            f"SELECT run, name, {_FIGURES} FROM run_metrics WHERE name {_among(names, wanted.metrics)} AND {of_runs}",
            keys,
        ):
            metrics.setdefault(run, {})[names[name]] = MetricFigures(math.nan if last is None else last, *figures)
        for run, tag in metadata.query(f"SELECT run, tag FROM tags WHERE {of_runs} ORDER BY run, place", keys):
            tags[run] = (*tags.get(run, ()), tag)
        # In the order of the config, which tells what its columns are.
        order = "" if wanted.params is not None else "ORDER BY p.place"
        for run, name, value in metadata.query(
            "SELECT p.run, p.key, v.json FROM run_params p JOIN param_values v ON v.id = p.value "
            f"WHERE p.key {_among(names, wanted.params)} AND p.{of_runs} {order}".replace("p.true", "true"),
            keys,
        ):
            params.setdefault(run, {})[names[name]] = _value(value)
    found = {}
    for number, key, note, star, *fields in runs:
        reference = told(key)
        status = dict(zip(_STATUS, fields, strict=True))
        status["stalled"] = bool(status["stalled"])
        found[reference] = RunRow(
            reference,
            RunDirectory(data / "projects" / reference),
            RunStatus(**status),
            metrics.get(number, {}),
            tags.get(number, ()),
            note,
            bool(star),
            params.get(number, {}),
        )
    return found


def _among(names: dict[int, str], wanted: frozenset[str] | None) -> str:
    # Entries lie by name, so that of each name asked for only its own are looked at.
    numbers = [number for number, name in names.items() if wanted is None or name in wanted]
    return f"IN ({', '.join(map(str, numbers))})"


@lru_cache(50_000)
def _shared(text: str) -> Any:
    return json.loads(text)


def _value(text: str) -> Any:
    # What can be changed is not shared between rows.
    return json.loads(text) if text[0] in "[{" else _shared(text)
