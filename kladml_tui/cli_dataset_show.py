"""`kladml-tui datasets show`: what is registered, columns with small histograms, classes, first rows, runs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.errors import ExitCode, KladMLError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.workspace.datasets import DatasetRegistration
    from kladml_core.workspace.examination import Examination

_BAR_CELLS = 32
_SHOWN_COLUMNS = 40
_SHOWN_RUNS = 20
Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered dataset.")]


def show(
    context: typer.Context,
    name: Name,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows of the data that are printed.")] = 5,
    call: Annotated[
        bool, typer.Option("--call", help="Call the function of a target, in a process of its own, to look at it.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="How long the data may be looked through.")
    ] = 60.0,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Shows a dataset: what is registered, its columns with small histograms, its classes, its first rows, its runs."""
    from kladml_core.workspace.dataset_look import look
    from kladml_core.workspace.dataset_state import compare
    from kladml_core.workspace.dataset_uses import runs_using
    from kladml_core.workspace.datasets import find_registration
    from kladml_tui.dataset_text import state_text

    root = choose_workspace(workspace or above(context))
    settings = settings_of(root)
    made = find_registration(root, name)
    state = compare(made, root)
    seen, problem = None, ""
    try:
        seen = look(made, root, call=call, seconds=seconds)
    except KladMLError as error:
        problem = str(error)
    uses = runs_using(settings.data, made)
    if json:
        looked = None if seen is None else seen.to_json()
        used = [asdict(use) for use in uses]
        more = {"state": state.to_json(), "problem": problem or None, "data": looked, "used_by": used}
        print_json({**facts_json(made, root), **more})
    else:
        print_rows(("", ""), [("dataset", made.file.stem), *fact_rows(made), ("on disk", state_text(state))])
        if seen is not None:
            _print_seen(seen, rows)
        if uses:
            print()
            print_rows(("used by", "version"), [(use.run, version_text(use.version)) for use in uses[:_SHOWN_RUNS]])
            if len(uses) > _SHOWN_RUNS:
                print(f"… and {len(uses) - _SHOWN_RUNS} more runs")
        if problem:
            say(problem)
    raise typer.Exit(ExitCode.UNUSABLE if problem else ExitCode.FINISHED)


def facts_json(made: DatasetRegistration, root: Path) -> dict[str, Any]:
    """A registration as commands print it."""
    location = made.location(root)
    return {
        "name": made.file.stem,
        "file": str(made.file),
        "description": made.description,
        "format": made.format,
        "path": None if location is None else str(location),
        "target": made.target,
        "params": dict(made.params),
        "split": made.split,
        "rows": made.rows,
        "columns": {name: asdict(column) for name, column in made.columns.items()},
        "column_count": made.column_count,
        "bytes": made.bytes,
        "fingerprint": made.fingerprint,
        "sha256": made.sha256,
        "version": len(made.versions),
    }


def fact_rows(made: DatasetRegistration) -> list[tuple[str, str]]:
    """What is registered, label and value."""
    from kladml_core.runs.event_text import size_text
    from kladml_core.runs.files import strict_dumps

    facts = [
        ("description", made.description),
        ("format", made.format),
        ("data", made.path or made.target or ""),
        ("params", strict_dumps(dict(made.params)) if made.params else ""),
        ("split", made.split or ""),
        ("rows", "" if made.rows is None else f"{made.rows:,}"),
        ("columns", str(made.column_count or "")),
        ("size", "" if made.bytes is None else size_text(made.bytes)),
        ("fingerprint", made.fingerprint or ""),
        ("every byte", made.sha256 or ""),
    ]
    return [(label, value) for label, value in facts if value]


def version_text(number: int | None) -> str:
    """A version of a run's data in words."""
    return "not a registered one" if number is None else str(number)


def say(text: str) -> None:
    """A message beside the data, on stderr."""
    print(inert(text), file=sys.stderr)


def _print_seen(seen: Examination, rows: int) -> None:
    from kladml_tui.dataset_text import bars, distinct_text, missing_text, real, share_bar, type_text

    print()
    heads = ("column", "type", "least", "mean", "greatest", "distinct", "histogram", "")
    table = [
        (
            _cut(column.name, 40),
            type_text(column),
            real(column.least),
            real(column.mean),
            real(column.greatest),
            distinct_text(column),
            bars(column.bins, _BAR_CELLS),
            missing_text(column),
        )
        for column in seen.columns[:_SHOWN_COLUMNS]
    ]
    print_rows(heads, table)
    if len(seen.columns) > _SHOWN_COLUMNS:
        print(f"… and {len(seen.columns) - _SHOWN_COLUMNS} more columns; --json lists all")
    if seen.classes is not None and seen.label is not None:
        print()
        most = max(count for _, count in seen.classes)
        total = sum(count for _, count in seen.classes)
        print_rows(
            (f"class ({_cut(seen.label, 30)})", "rows", "share", ""),
            [
                (_cut(text, 40), f"{count:,}", f"{count / total:.1%}", share_bar(count / most, 24))
                for text, count in seen.classes[:_SHOWN_COLUMNS]
            ],
        )
    if rows and seen.preview:
        print()
        names = [_cut(column.name, 16) for column in seen.columns[:8]]
        print_rows(names, [[_cut(cell, 16) for cell in row[:8]] for row in seen.preview[:rows]])
        if len(seen.columns) > 8:
            print(f"… and {len(seen.columns) - 8} more columns")
    for note in seen.notes:
        say(note)
    if not seen.complete:
        say(f"all of this is of the first {seen.rows_seen:,} rows")


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
