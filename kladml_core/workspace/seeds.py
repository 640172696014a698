"""Runs that differ in nothing but their seed, and what their metrics came to: mean and spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kladml_core.workspace.columns import metric_names
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.values import FIGURES, figure_of, number_of, param_text

SEED = "seed"


@dataclass(frozen=True)
class Spread:
    """What a figure of a metric came to in some runs."""

    mean: float
    deviation: float | None
    """Of a sample: the root of the summed squares over n - 1. None of a single run."""
    least: float
    greatest: float
    count: int
    """Runs that have a finite value; the others count for nothing here."""

    def to_json(self) -> dict[str, Any]:
        """As `runs --group-seeds --json` prints it."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "min": self.least,
            "max": self.greatest,
            "count": self.count,
        }


@dataclass(frozen=True)
class SeedGroup:
    """Runs of one experiment whose recorded configs are the same but for `seed`."""

    runs: tuple[RunRow, ...]
    """In the order in which they came."""
    seeds: tuple[str, ...]
    """Of each run; empty where its config says none."""
    params: Mapping[str, Any]
    """What their configs have in common."""

    @property
    def row(self) -> RunRow:
        """The first run, which stands for all."""
        return self.runs[0]

    def spread(self, metric: str, figure: str = "last") -> Spread | None:
        """Mean and spread of a metric's figure (last, best, min, max) over the runs that have a finite one; None where
        none has."""
        found = [
            value
            for row in self.runs
            if (value := figure_of(row, metric, figure)[0]) is not None and math.isfinite(value)
        ]
        if not found:
            return None
        deviation = statistics.stdev(found) if len(found) > 1 else None
        return Spread(statistics.fmean(found), deviation, min(found), max(found), len(found))

    def to_json(self) -> dict[str, Any]:
        """As `runs` and `compare` print it with `--group-seeds --json`."""
        metrics: dict[str, dict[str, Any]] = {}
        for name in metric_names(self.runs):
            found = {figure: self.spread(name, figure) for figure in FIGURES}
            metrics[name] = {figure: None if spread is None else spread.to_json() for figure, spread in found.items()}
        return {
            "runs": [row.reference for row in self.runs],
            "seeds": [row.params.get(SEED) for row in self.runs],
            "params": dict(self.params),
            "metrics": metrics,
        }


def group_seeds(rows: Sequence[RunRow]) -> list[SeedGroup]:
    """Groups runs by experiment and config minus seed, in the order of the first run of each.

    A run whose config could not be read is a group of its own: nothing says what it is a repetition of.

    Args:
        rows: with their parameters, see `kladml_core.workspace.rows.with_params`.
    """
    groups: dict[object, list[RunRow]] = {}
    for row in rows:
        key: object = row.reference
        if row.params:
            said = frozenset((name, _text(value)) for name, value in row.params.items() if name != SEED)
            key = (row.reference.rpartition("/")[0], said)
        groups.setdefault(key, []).append(row)
    return [
        SeedGroup(
            tuple(found),
            tuple("" if (seed := row.params.get(SEED)) is None else param_text(seed) for row in found),
            {name: value for name, value in found[0].params.items() if name != SEED},
        )
        for found in groups.values()
    ]


def _text(value: object) -> tuple[str, str]:
    # 1 and 1.0 are the same width, 1 and "1" are not.
    number = number_of(value)
    return ("number", repr(number)) if number is not None else (type(value).__name__, param_text(value))
