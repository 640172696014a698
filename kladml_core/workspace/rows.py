"""One run as a row of a table: its status, its progress and its metrics, from the small files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kladml_core.config.load import read
from kladml_core.errors import KladMLError
from kladml_core.runs.files import number, read_object
from kladml_core.runs.notes import notes_in
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus, reconcile


@dataclass(frozen=True, slots=True)
class MetricFigures:
    """What summary.json says of one metric. None where there was no finite value."""

    last: float
    last_step: int
    minimum: float | None
    minimum_step: int | None
    maximum: float | None
    maximum_step: int | None
    count: int
    non_finite: int


@dataclass(frozen=True)
class RunRow:
    """A run in a list."""

    reference: str
    run: RunDirectory
    status: RunStatus
    metrics: Mapping[str, MetricFigures] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    note: str = ""
    star: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    """The values of the recorded config by dotted key, once they were read: see `with_params`."""
    place: int | None = None
    """In the queue, of one that waits; 1 is next. See `at`."""

    def at(self, places: Mapping[str, int]) -> RunRow:
        """The row with its place among those that wait, by reference."""
        place = places.get(self.reference)
        return replace(self, place=place) if place is not None and self.status.status == "queued" else self

    def to_json(self) -> dict[str, Any]:
        """The row as commands print it with `--json`."""
        status = self.status
        return {
            "run": self.reference,
            "status": status.status,
            "place": self.place,
            "stalled": status.stalled,
            "silent_seconds": status.silence,
            "attempt": status.attempt,
            "epoch": status.epoch,
            "total_epochs": status.total_epochs,
            "step": status.step,
            "total_steps": status.total_steps,
            "created": status.created,
            "started": status.started,
            "ended": status.ended,
            "seconds": status.seconds,
            "total_seconds": status.total_seconds,
            "exit_code": status.exit_code,
            "reason": status.why or status.reason,
            "metrics": {name: asdict(figures) for name, figures in self.metrics.items()},
            "tags": list(self.tags),
            "note": self.note,
            "star": self.star,
            "path": str(self.run.path),
        }


def with_params(row: RunRow) -> RunRow:
    """The row with the parameters of its recorded config; with none where that cannot be read."""
    from kladml_core.config.diff import flatten
    from kladml_core.config.document import dotted

    try:
        data = read(row.run.config).data
    except KladMLError:
        return row
    return replace(row, params={dotted(path): value for path, value in flatten(data).items() if path})


def run_row(run: RunDirectory) -> RunRow:
    """Reads a run's row; a death that this process can prove is recorded on the way."""
    notes = notes_in(_notes(run))
    return RunRow(
        reference=run.reference,
        run=run,
        status=reconcile(run),
        metrics=read_figures(run),
        tags=notes.tags,
        note=notes.note,
        star=notes.star,
    )


def read_figures(run: RunDirectory) -> dict[str, MetricFigures]:
    """summary.json by metric; entries that are damaged are left out."""
    found: dict[str, MetricFigures] = {}
    for name, entry in (read_object(run.summary) or {}).items():
        try:
            found[name] = MetricFigures(
                last=number(entry["last"]),
                last_step=int(entry["last_step"]),
                minimum=_optional(entry["min"]),
                minimum_step=entry["min_step"],
                maximum=_optional(entry["max"]),
                maximum_step=entry["max_step"],
                count=int(entry["count"]),
                non_finite=int(entry["non_finite"]),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _optional(value: Any) -> float | None:
    return None if value is None else number(value)


def _notes(run: RunDirectory) -> Mapping[str, Any]:
    if not run.notes.exists():
        return {}
    try:
        return read(run.notes, empty_ok=True).data
    except KladMLError:
        return {}  # notes are a person's own file; a slip in it must not hide the run
