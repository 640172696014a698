"""What differs between runs: their configs, how they came about, and what their metrics came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kladml_core.config.diff import MISSING, alike, diff, differ, flatten
from kladml_core.config.document import dotted
from kladml_core.config.emit import dump_value
from kladml_core.config.load import read
from kladml_core.errors import ConfigError, KladMLError
from kladml_core.runs.provenance_diff import origin
from kladml_core.runs.rundir import RunDirectory
from kladml_core.workspace.rows import MetricFigures, RunRow, run_row
from kladml_core.workspace.seeds import SEED, SeedGroup, group_seeds

MOST_RUNS = 200
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
    config_alike: tuple[tuple[str, object], ...] = ()
    """The keys that all configs have with the same value."""
    provenance_alike: tuple[tuple[str, object], ...] = ()
    """What all runs recorded alike of their origin."""
    identities: tuple[str, ...] = ()
    """Of each run its uid, or its reference where it has none: what a screen chooses its colour by."""

    @property
    def groups(self) -> tuple[SeedGroup, ...]:
        """The runs in groups that differ in nothing but their seed, in the order of the first run of each."""
        return tuple(group_seeds(self.runs))

    def by_seeds(self) -> Comparison:
        """The comparison of the groups, each by its first run: seeds differ within a group and are no difference."""
        groups = self.groups
        first = [self.runs.index(group.row) for group in groups]

        def chosen(differences: Differences) -> Differences:
            picked = ((key, tuple(values[at] for at in first)) for key, values in differences if key != SEED)
            return tuple((key, values) for key, values in picked if differ(values))

        return replace(
            self,
            runs=tuple(group.row for group in groups),
            identities=tuple(self.identities[at] for at in first),
            config=chosen(self.config),
            provenance=chosen(self.provenance),
            metrics=tuple((name, tuple(figures[at] for at in first)) for name, figures in self.metrics),
        )

    def to_json(self) -> dict[str, Any]:
        """The comparison as `compare --json` prints it; a value that a run lacks is missing from its mapping."""
        names = [row.reference for row in self.runs]
        return {
            "runs": [row.to_json() for row in self.runs],
            "config": _by_run(names, self.config),
            "provenance": _by_run(names, self.provenance),
            "metrics": {
                metric: {name: asdict(one) for name, one in zip(names, figures, strict=True) if one is not None}
                for metric, figures in self.metrics
            },
            "unread": dict(self.unread),
        }

    def alike_json(self) -> dict[str, Any]:
        """What the runs have in common, as `compare --all --json` adds it."""
        return {"config_alike": dict(self.config_alike), "provenance_alike": dict(self.provenance_alike)}

    def groups_json(self) -> list[dict[str, Any]]:
        """The groups with mean and spread of each metric, as `compare --group-seeds --json` adds them."""
        return [group.to_json() for group in self.groups]


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
    rows = [run_row(run) for run in runs]
    configs: list[Mapping[str, Any]] = []
    unread = []
    for at, run in enumerate(runs):
        try:
            configs.append(read(run.config).data)
            rows[at] = replace(rows[at], params={dotted(path): value for path, value in flatten(configs[-1]).items()})
        except KladMLError as error:
            configs.append({})
            unread.append((run.reference, error.message))
    monitor = _monitor(configs[0])
    origins = [origin(run) for run in runs]
    return Comparison(
        tuple(rows),
        config=tuple(diff(configs)),
        provenance=tuple(diff(origins)),
        metrics=tuple(_metrics(rows, monitor[0])),
        monitor=monitor,
        unread=tuple(unread),
        config_alike=tuple(alike(configs)),
        provenance_alike=tuple(alike(origins)),
        identities=tuple(map(identity, runs)),
    )


def identity(run: RunDirectory) -> str:
    """What tells the run from all others wherever it lies: its uid, or its reference where it has none."""
    uid = (run.read_run() or {}).get("uid")
    return uid if isinstance(uid, str) and uid else run.reference


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
