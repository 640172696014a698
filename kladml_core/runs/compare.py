"""What differs between runs: their configs, how they came about, and what their metrics came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kladml_core.config.diff import MISSING, diff
from kladml_core.config.emit import dump_value
from kladml_core.config.load import read
from kladml_core.errors import ConfigError, KladMLError
from kladml_core.runs.provenance_diff import provenance_diff
from kladml_core.runs.rundir import RunDirectory
from kladml_core.workspace.rows import MetricFigures, RunRow, run_row

MOST_RUNS = 8
"""Runs that can be compared at once."""

Differences = tuple[tuple[str, tuple[object, ...]], ...]
"""Dotted keys, each with the value of every run; `kladml_core.config.diff.MISSING` where a run has none."""


@dataclass(frozen=True)
class Comparison:
    """Two runs or more beside each other."""

    runs: tuple[RunRow, ...]
    config: Differences
    """The keys in which the recorded configs differ."""
    provenance: Differences
    """In what code, packages, machine, data and command line differ."""
    metrics: tuple[tuple[str, tuple[MetricFigures | None, ...]], ...]
    """What each metric came to in every run, the monitored one first; None where a run has not logged it."""
    monitor: tuple[str, str] = ("", "min")
    """The metric that decides which checkpoint is best, and whether its `min` or `max` is; from the first config."""
    unread: tuple[tuple[str, str], ...] = ()
    """Runs whose config could not be read, each with the reason; they count as without a key."""

    def to_json(self) -> dict[str, Any]:
        """The comparison as `compare --json` prints it; a value that a run lacks is missing from its mapping."""
        names = [row.reference for row in self.runs]
        return {
            "runs": [row.to_json() for row in self.runs],
            "config": _by_run(names, self.config),
            "provenance": _by_run(names, self.provenance),
            "metrics": {
                metric: {name: vars(one) for name, one in zip(names, figures, strict=True) if one is not None}
                for metric, figures in self.metrics
            },
            "unread": dict(self.unread),
        }


def compare(runs: Sequence[RunDirectory]) -> Comparison:
    """Reads runs and says in what they differ.

    Args:
        runs: two to `MOST_RUNS` runs, in the order in which their values are to stand.

    Raises:
        ConfigError: too few or too many runs, or one of them twice.
    """
    if not 2 <= len(runs) <= MOST_RUNS:
        raise ConfigError(f"{len(runs)} run{'s' * (len(runs) != 1)} cannot be compared", hint=f"name 2 to {MOST_RUNS}")
    twice = {run.reference for run in runs if sum(other.path == run.path for other in runs) > 1}
    if twice:
        raise ConfigError(f"{', '.join(sorted(twice))} is named more than once", hint="name different runs")
    rows = tuple(run_row(run) for run in runs)
    configs: list[Mapping[str, Any]] = []
    unread = []
    for run in runs:
        try:
            configs.append(read(run.config).data)
        except KladMLError as error:
            configs.append({})
            unread.append((run.reference, error.message))
    monitor = _monitor(configs[0])
    return Comparison(
        rows,
        config=tuple(diff(configs)),
        provenance=tuple(provenance_diff(runs)),
        metrics=tuple(_metrics(rows, monitor[0])),
        monitor=monitor,
        unread=tuple(unread),
    )


def value_text(value: object) -> str:
    """A value of a difference in one line: as a config says it, `–` where there is none."""
    if value is MISSING:
        return "–"
    try:
        return dump_value(value)
    except TypeError:
        return str(value)


def _metrics(rows: Sequence[RunRow], monitored: str) -> list[tuple[str, tuple[MetricFigures | None, ...]]]:
    names = {name for row in rows for name in row.metrics}
    # What the runs are judged by, then the rest of the validation, then the losses.
    ordered = sorted(
        names, key=lambda name: (name != monitored, not name.startswith("val/"), not name.endswith("loss"), name)
    )
    return [(name, tuple(row.metrics.get(name) for row in rows)) for name in ordered]


def _monitor(config: Mapping[str, Any]) -> tuple[str, str]:
    training = config.get("training")
    stopping = training.get("early_stopping") if isinstance(training, Mapping) else None
    chosen = stopping if isinstance(stopping, Mapping) else {}
    return str(chosen.get("monitor", "val/loss")), "max" if chosen.get("mode") == "max" else "min"


def _by_run(names: Sequence[str], differences: Differences) -> dict[str, dict[str, object]]:
    return {
        key: {name: value for name, value in zip(names, values, strict=True) if value is not MISSING}
        for key, values in differences
    }
