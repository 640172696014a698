"""`runs --group-seeds`: runs that differ in their seed alone as one line, with mean and spread of what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kladml_core.workspace.columns import columns_of, is_metric, metric_names
from kladml_core.workspace.rows import with_params
from kladml_core.workspace.seeds import SEED, SeedGroup, group_seeds
from kladml_core.workspace.values import Value, value_named, varying
from kladml_tui.cli_shared import print_json, print_rows

if TYPE_CHECKING:
    from kladml_core.workspace.rows import RunRow
    from kladml_core.workspace.views import View

_USUAL = 2
"""Metrics that a table shows where nobody says which."""


def print_groups(rows: Sequence[RunRow], view: View, limit: int | None, *, json: bool) -> None:
    """Prints the groups of some runs, sorted by the mean where they are sorted by a metric."""
    groups = group_seeds([row if row.params else with_params(row) for row in rows])
    groups = _sorted(groups, rows, view)[:limit]
    if json:
        print_json([group.to_json() for group in groups])
        return
    if not groups:
        print("no runs")
        return
    first = [group.row for group in groups]
    values = _values(view, rows, first)
    heads = ("runs", "seeds", *(value.title for value in values))
    print_rows(heads, [(_names(group), ", ".join(group.seeds), *_cells(group, values, rows)) for group in groups])


def _sorted(groups: list[SeedGroup], rows: Sequence[RunRow], view: View) -> list[SeedGroup]:
    by = value_named(view.sort) if view.sort else None
    if by is None or not is_metric(by, rows):
        return groups
    known = [(spread.mean, group) for group in groups if (spread := group.spread(by.name, by.figure)) is not None]
    known.sort(key=lambda pair: pair[0], reverse=view.reverse)
    return [*(group for _, group in known), *(one for one in groups if one.spread(by.name, by.figure) is None)]


def _values(view: View, rows: Sequence[RunRow], first: Sequence[RunRow]) -> list[Value]:
    """The columns behind runs and seeds: those that were asked for, else parameters that vary and some metrics."""
    if view.columns:
        return [value for value in columns_of(view.columns, first) if value.name not in ("name", SEED)]
    params = [Value("param", name) for name in varying(first) if name != SEED]
    return [*params, *(Value("metric", name) for name in metric_names(rows)[:_USUAL])]


def _cells(group: SeedGroup, values: Sequence[Value], rows: Sequence[RunRow]) -> list[str]:
    from kladml_tui.compare_text import spread_text
    from kladml_tui.run_cells import cell

    return [
        spread_text(group.spread(value.name, value.figure), len(group.runs))
        if is_metric(value, rows)
        else cell(value, group.row)
        for value in values
    ]


def _names(group: SeedGroup) -> str:
    """The first run's reference, then the others' names."""
    return " ".join((group.row.reference, *(row.reference.rpartition("/")[2] for row in group.runs[1:])))
