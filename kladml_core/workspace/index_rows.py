"""Rows of a table of runs out of the index: what `rows.run_row` and `with_params` read from the files, much faster."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from kladml_core.backends.sqlite_metadata import SqliteMetadata, metric, stored, told
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus
from kladml_core.workspace.rows import MetricFigures, RunRow

_STATUS = (
    "status", "stalled", "attempt", "pid", "host", "phase", "epoch", "step", "total_steps", "total_epochs", "heartbeat",
    "progress_at", "exit_code", "reason", "last_checkpoint", "created", "started", "ended", "earlier_seconds",
    "silence", "damaged",
)  # fmt: skip
_FIGURES = "last, last_step, min, min_step, max, max_step, count, non_finite"
_AT_ONCE = 500
"""References in one statement; of more than twice as many, all that there are is read."""


def read_rows(
    metadata: SqliteMetadata, references: Iterable[str] | None = None, *, data: Path, params: bool = True
) -> dict[str, RunRow]:
    """What the index knows of runs, by reference; those that it does not know are missing.

    Args:
        references: of which runs; None is all.
        data: the workspace's data directory.
        params: with their parameters.

    Raises:
        sqlite3.Error: the index is damaged.
    """
    wanted = None if references is None else list(dict.fromkeys(references))
    if wanted is None or len(wanted) > 2 * _AT_ONCE:
        rows = _read(metadata, "true", [], data, params)
        return rows if wanted is None else {reference: rows[reference] for reference in wanted if reference in rows}
    found: dict[str, RunRow] = {}
    for begin in range(0, len(wanted), _AT_ONCE):
        keys = [stored(reference) for reference in wanted[begin : begin + _AT_ONCE]]
        found.update(_read(metadata, f"reference IN ({', '.join('?' * len(keys))})", keys, data, params))
    return found


def _read(metadata: SqliteMetadata, where: str, keys: list[Any], data: Path, params: bool) -> dict[str, RunRow]:
    ids = f"IN (SELECT id FROM runs WHERE {where})" if keys else "IS NOT NULL"
    projects = data / "projects"
    metrics: dict[int, dict[str, MetricFigures]] = {}
    configs: dict[int, dict[str, Any]] = {}
    tags: dict[int, tuple[str, ...]] = {}
    with metadata.lock:
        names = dict(metadata.query("SELECT id, name FROM names"))
        runs = metadata.query(f"SELECT id, reference, note, star, {', '.join(_STATUS)} FROM runs WHERE {where}", keys)
        # By name and run, as the entries lie.
        by_name = "name IN (SELECT id FROM names) AND " if keys else ""
        for run, name, *figures in metadata.query(
            f"SELECT run, name, {_FIGURES} FROM run_metrics WHERE {by_name}run {ids}", keys
        ):
            metrics.setdefault(run, {})[names[name]] = MetricFigures(*vars(metric(figures)).values())
        for run, tag in metadata.query(f"SELECT run, tag FROM tags WHERE run {ids} ORDER BY run, place", keys):
            tags[run] = (*tags.get(run, ()), tag)
        if params:
            by_key = "key IN (SELECT id FROM names) AND " if keys else ""
            sql = (
                "SELECT p.run, p.key, v.json FROM run_params p JOIN param_values v ON v.id = p.value "
                f"WHERE {by_key}p.run {ids} ORDER BY p.place"
            )
            for run, key, value in metadata.query(sql, keys):
                configs.setdefault(run, {})[names[key]] = _value(value)
    found = {}
    for number, key, note, star, *fields in runs:
        reference = told(key)
        status = dict(zip(_STATUS, fields, strict=True))
        status["stalled"] = bool(status["stalled"])
        found[reference] = RunRow(
            reference,
            RunDirectory(projects / reference),
            RunStatus(**status),
            metrics.get(number, {}),
            tags.get(number, ()),
            note,
            bool(star),
            configs.get(number, {}),
        )
    return found


@lru_cache(50_000)
def _shared(text: str) -> Any:
    return json.loads(text)


def _value(text: str) -> Any:
    # What can be changed is not shared between rows.
    return json.loads(text) if text[0] in "[{" else _shared(text)
