"""A comparison of runs as tables of plain text, a column a run: what the command prints and what the screen draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kladml_core.runs.compare import Comparison, Differences, value_text
from kladml_core.runs.event_text import figure
from kladml_core.workspace.rows import RunRow
from kladml_tui.run_line import duration, moment, progress
from kladml_tui.text import one_line

BEST = "◆"
"""Stands behind the best value of the metric that the runs are judged by."""
_HOW_FAST = ("learning_rate", "gradient_norm", "data_wait", "samples_per_second")
"""Ends of the names of metrics that say how training went along, not how well."""


@dataclass(frozen=True)
class Table:
    """One part of a comparison."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    """What is compared, then its value in every run."""
    instead: str = ""
    """What to say where there are no rows."""


def names(comparison: Comparison) -> tuple[str, ...]:
    """The runs' names: without what they have in common, where that is a whole experiment."""
    references = [row.reference for row in comparison.runs]
    if len({reference.rpartition("/")[0] for reference in references}) == 1:
        return tuple(reference.rpartition("/")[2] for reference in references)
    return tuple(references)


def tables(comparison: Comparison) -> tuple[Table, ...]:
    """The parts in the order in which they are read."""
    told = "".join(f"{reference}: {reason}. " for reference, reason in comparison.unread)
    return (
        Table("Runs", tuple(_facts(comparison.runs))),
        Table("Config", _differences(comparison.config), told or "The configs are the same."),
        Table("Metrics", tuple(_metrics(comparison)), "No metric has been logged."),
        Table("Provenance", _differences(comparison.provenance), "They came about alike."),
    )


def plain_text(comparison: Comparison) -> str:
    """The whole comparison with a tab between the cells, for the clipboard and a spreadsheet; inert."""
    lines = []
    for table in tables(comparison):
        lines.append("\t".join((table.title, *map(one_line, names(comparison)))))
        lines += ["\t".join(map(one_line, row)) for row in table.rows] or [one_line(table.instead)]
        lines.append("")
    return "\n".join(lines)


def _facts(runs: tuple[RunRow, ...]) -> Iterator[tuple[str, ...]]:
    stati = [row.status for row in runs]
    facts = {
        "status": [f"{one.status} {one.exit_code}" if one.exit_code else one.status for one in stati],
        "reason": [one.damaged or one.reason or "" for one in stati],
        "epoch": [progress(one.epoch, one.total_epochs) for one in stati],
        "step": [progress(one.step, one.total_steps) for one in stati],
        "started": [moment(one.started or one.created) for one in stati],
        "took": [duration(one.seconds) for one in stati],
        "note": [" ".join((*row.tags, row.note)).strip() for row in runs],
    }
    for name, values in facts.items():
        if any(values):
            yield (name, *values)


def _differences(found: Differences) -> tuple[tuple[str, ...], ...]:
    return tuple((key, *map(value_text, values)) for key, values in found)


def _metrics(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    monitored, mode = comparison.monitor
    for name, figures in comparison.metrics:
        yield (f"{name} last", *(_at(*((one.last, one.last_step) if one else (None, None))) for one in figures))
        least = [(one.minimum, one.minimum_step) if one else (None, None) for one in figures]
        greatest = [(one.maximum, one.maximum_step) if one else (None, None) for one in figures]
        if name == monitored:
            yield (f"{name} best", *_marked(least if mode == "min" else greatest, mode))
        elif not name.endswith(_HOW_FAST):
            yield (f"{name} min", *(_at(*pair) for pair in least))
            yield (f"{name} max", *(_at(*pair) for pair in greatest))
        if any(one is not None and one.non_finite for one in figures):
            yield (f"{name} not finite", *(str(one.non_finite) if one else "–" for one in figures))


def _marked(pairs: list[tuple[float | None, int | None]], mode: str) -> Iterator[str]:
    values = [value for value, _ in pairs if value is not None]
    best = (min(values) if mode == "min" else max(values)) if values else None
    for value, step in pairs:
        yield f"{_at(value, step)}{f' {BEST}' if value is not None and value == best else ''}"


def _at(value: float | None, step: int | None) -> str:
    return "–" if value is None else f"{figure(value)} @{step}"
