"""Which saved views a rename leaves behind: their filters name the project, family or experiment as it was called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kladml_core.errors import KladMLError
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus
from kladml_core.workspace.filter_match import matcher
from kladml_core.workspace.filters import Filter, Not, Term, Text, Word, parse
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.views import FILE, read_views

_NAMED = frozenset({"project", "family", "experiment", "name"})
_PARTS = 4
"""Of a run's reference."""


def stale_views(data: Path, old: str, new: str, runs: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of the saved views in whose filter a term fitted the old name and does not fit the new one.

    Args:
        data: the workspace's data directory.
        old: the reference of the project, family or experiment before, e.g. `vision/digits`.
        new: the reference now.
        runs: the runs in it, each as it is named below it, e.g. `cnn/run_0001`.

    Raises:
        ConfigError: views.yaml is wrong.
        UnusableError: it cannot be read.
    """
    views = read_views(data)
    if not any(view.filter for view in views.values()):
        return ()
    # An empty one has no run by which it could be named more closely.
    below = tuple(runs) or ("/".join("-" * (_PARTS - 1 - old.count("/"))),)
    pairs = [(_row(data, f"{old}/{one}"), _row(data, f"{new}/{one}")) for one in below]
    return tuple(
        name for name, view in views.items() if any(_is_stale(term, pairs) for term in parse(view.filter).terms)
    )


def stale_views_told(data: Path, old: str, new: str, runs: Iterable[str] = ()) -> tuple[str, ...]:
    """The same as a sentence that says what to do about it; none where no view is left behind."""
    try:
        names = stale_views(data, old, new, runs)
    except KladMLError as error:
        return (f"whether saved views name {old} cannot be told: {error}",)
    if not names:
        return ()
    several = "s" if len(names) > 1 else ""
    told = ", ".join(map(repr, names))
    do = f"`kladml-tui views list` shows {'their filters' if several else 'its filter'}, to be changed in {data / FILE}"
    return (f"the saved view{several} {told} still name{'' if several else 's'} {old}; {do}",)


def _is_stale(term: Term, pairs: list[tuple[RunRow, RunRow]]) -> bool:
    inner = term.term if isinstance(term, Not) else term
    if not isinstance(inner, Word) and not (isinstance(inner, Text) and inner.field in _NAMED):
        return False
    test = matcher(Filter((inner,)))
    return any(test(before) and not test(now) for before, now in pairs)


def _row(data: Path, reference: str) -> RunRow:
    """A run of which nothing is known but its name."""
    return RunRow(reference, RunDirectory(data / "projects" / reference), RunStatus("finished"))
