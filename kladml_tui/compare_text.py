"""A comparison of runs as tables of plain text, a column a run: what the command prints and what the screen draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kladml_core.runs.compare import Comparison, Differences, value_text
from kladml_core.runs.event_text import figure
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.seeds import Spread
from kladml_tui.run_line import duration, moment, number, progress
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
    heads: tuple[str, ...] = ()
    """Whose values stand in the columns."""


def names(comparison: Comparison) -> tuple[str, ...]:
    """The runs' names, see `short_names`."""
    return short_names([row.reference for row in comparison.runs])


def short_names(references: Sequence[str]) -> tuple[str, ...]:
    """References without what they have in common, where that is a whole experiment."""
    if len({reference.rpartition("/")[0] for reference in references}) == 1:
        return tuple(reference.rpartition("/")[2] for reference in references)
    return tuple(references)


def group_names(comparison: Comparison) -> tuple[str, ...]:
    """The names of the groups: that of the first run, and how many more there are."""
    label = dict(zip((row.reference for row in comparison.runs), names(comparison), strict=True))
    return tuple(
        label[group.row.reference] + (f" +{len(group.runs) - 1}" if len(group.runs) > 1 else "")
        for group in comparison.groups
    )


def tables(comparison: Comparison, *, seeds: bool = False, everything: bool = False) -> tuple[Table, ...]:
    """The parts in the order in which they are read.

    Args:
        seeds: a column for each group of runs that differ in their seed alone, with mean ± deviation of the metrics.
        everything: tell as well what the runs have in common.
    """
    told = "".join(f"{reference}: {reason}. " for reference, reason in comparison.unread)
    heads = group_names(comparison) if seeds else names(comparison)
    shown = comparison.by_seeds() if seeds else comparison
    metrics = _spreads(comparison) if seeds else _metrics(comparison)
    found = [
        Table("Runs", tuple(_groups(comparison) if seeds else _facts(comparison.runs, everything)), "", heads),
        Table("Metrics", tuple(metrics), "No metric has been logged.", heads),
        Table("Config", _differences(shown.config), told or "The configs are the same.", heads),
        Table("Provenance", _differences(shown.provenance), "They came about alike.", heads),
    ]
    if everything:
        for title, alike in (("Config", comparison.config_alike), ("Provenance", comparison.provenance_alike)):
            rows = tuple((key, value_text(value)) for key, value in alike)
            found.append(Table(f"{title}, the same in all", rows, "Nothing.", ("all runs",)))
    return tuple(found)


def plain_text(comparison: Comparison, *, seeds: bool = False, everything: bool = False) -> str:
    """The whole comparison with a tab between the cells, for the clipboard and a spreadsheet; inert."""
    lines = []
    for table in tables(comparison, seeds=seeds, everything=everything):
        lines.append("\t".join((table.title, *map(one_line, table.heads))))
        lines += ["\t".join(map(one_line, row)) for row in table.rows] or [one_line(table.instead)]
        lines.append("")
    return "\n".join(lines)


def spread_text(spread: Spread | None, runs: int) -> str:
    """`0.0412 ± 0.0031`; with how many it is of where some of the runs have no finite value."""
    if spread is None:
        return ""
    text = number(spread.mean) if spread.deviation is None else f"{number(spread.mean)} ± {number(spread.deviation)}"
    return text if spread.count == runs else f"{text} ({spread.count} of {runs})"


def _groups(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    label = dict(zip((row.reference for row in comparison.runs), names(comparison), strict=True))
    groups = comparison.groups
    yield ("n", *(str(len(group.runs)) for group in groups))
    yield ("runs", *(" ".join(label[row.reference] for row in group.runs) for group in groups))
    yield ("seeds", *(", ".join(seed or "–" for seed in group.seeds) for group in groups))


def _spreads(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for name, _ in comparison.metrics:
        for kind in ("last",) if name.endswith(_HOW_FAST) else ("last", "best"):
            spreads = ((group.spread(name, kind), len(group.runs)) for group in comparison.groups)
            yield (f"{name} {kind}", *(spread_text(*one) or "–" for one in spreads))


def _facts(runs: tuple[RunRow, ...], everything: bool) -> Iterator[tuple[str, ...]]:
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
        # How they stand is told in any case.
        if any(values) and (everything or name == "status" or len(set(values)) > 1):
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
