"""The command that lists runs: filtered, sorted, in columns of one's choice, as a table, JSON or CSV."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Workspace, above, status_words
from kladml_tui.cli_shared import clock, print_json, print_rows, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kladml_core.backends.sqlite_metadata import SqliteMetadata
    from kladml_core.workspace.filters import Filter
    from kladml_core.workspace.rows import RunRow
    from kladml_core.workspace.views import View

_SHOWN = 100
_WHY_LETTERS = 80
"""Of a reason in the list of runs; `show` gives all of it."""
_HEADS = ("run", "status", "epoch", "step", "metrics", "time", "created", "")

FilterWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILTER",
        help="Terms that must all match: status:running, 'val/loss<0.05', 'model.params.width>=32', tag:baseline, "
        "star:yes, a word; -tag:old leaves out.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="KEY", help="created, name, status, duration, best:val/loss, model.params.width, …"),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B,…",
        help="What to show: keys as --sort takes them, params for those that vary, metrics.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Registers the command."""
    # A term that begins with - is no option.
    app.command("runs", context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})(runs)


def runs(
    context: typer.Context,
    words: FilterWords = None,
    status: Annotated[str | None, typer.Option("--status", help="Only runs with this status.")] = None,
    view: Annotated[str | None, typer.Option("--view", metavar="NAME", help="As this saved view shows them.")] = None,
    sort: Sort = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    columns: Columns = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Those of archived projects, families and experiments too.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"At most so many; a table shows {_SHOWN} else.")
    ] = None,
    workspace: Workspace = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, a metric beside its step.")] = False,
    group_seeds: Annotated[
        bool,
        typer.Option("--group-seeds", help="Runs that differ in their seed alone as one, with mean ± deviation."),
    ] = False,
) -> None:
    """Lists the runs of the workspace, newest first; those of archived experiments with --all."""
    from kladml_core.workspace.choose_runs import choose_runs, fresh_index
    from kladml_core.workspace.columns import EXPORTED
    from kladml_core.workspace.export import to_csv, to_json
    from kladml_core.workspace.filters import parse_words

    if words_ask_help(context, words or []):
        return
    if group_seeds and csv:
        raise ConfigError("--group-seeds and --csv do not go together", hint="--json gives every figure")
    if json and csv:
        raise ConfigError("--json and --csv do not go together")
    settings = settings_of(choose_workspace(workspace or above(context)))
    data = settings.data
    shown = view_of(data, words or [], view=view, sort=sort, reverse=reverse, columns=columns, status=status)
    names = shown.columns or (EXPORTED if csv else ())
    most = limit if limit is not None or json or csv else _SHOWN
    index, wanted = fresh_index(settings), parse_words([shown.filter])
    tell_unknown(index, wanted, shown)
    chosen = choose_runs(
        data,
        wanted,
        archived=everything,
        sort=shown.sort,
        reverse=shown.reverse,
        columns=names,
        index=index,
        whole=None if group_seeds else most,
    )
    found = chosen.rows
    if chosen.archived:
        several = "s" * (chosen.archived != 1)
        print(f"{chosen.archived} run{several} in archived experiments left out; --all lists them too", file=sys.stderr)
    if group_seeds:
        from kladml_tui.cli_seeds import print_groups

        print_groups(found, shown, limit, json=json)
        return
    rows = found[:most]
    if csv:
        print(to_csv(rows, names), end="")
    elif json:
        print_json(to_json(rows, ("name", *names)) if names else [row.to_json() for row in rows])
    elif not rows:
        print("no runs")
    else:
        _print(rows, names)
        if len(found) > len(rows):
            print(f"… and {len(found) - len(rows)} {'older' if not shown.sort else 'more'}; --limit shows more")


def view_of(
    data: Path,
    words: Sequence[str],
    *,
    view: str | None,
    sort: str | None,
    reverse: bool,
    columns: str | None,
    status: str | None = None,
) -> View:
    """What the words of a command line ask for, on top of a saved view where one is named.

    Raises:
        ConfigError: they are not understood, or there is no such view.
    """
    from kladml_core.workspace.columns import split_columns
    from kladml_core.workspace.views import View, find_view

    for word in words:
        if word.startswith("--"):
            raise ConfigError(f"there is no option {word}", hint="`kladml-tui runs --help` lists them")
    base = find_view(data, view) if view is not None else View()
    terms = [base.filter, *words, *([f"status:{status}"] if status is not None else [])]
    return View(
        " ".join(term for term in terms if term),
        base.sort if sort is None else sort,
        # --reverse turns a view round, a sort of one's own begins anew.
        (base.reverse if sort is None else False) is not reverse,
        base.columns if columns is None else split_columns(columns),
    ).checked()


def tell_unknown(index: SqliteMetadata | None, wanted: Filter, shown: View) -> None:
    """Says which metrics and parameters no run has: without it, a slip would look like runs that do not match."""
    from kladml_core.workspace.columns import METRICS, PARAMS
    from kladml_core.workspace.unknown_names import unknown_names
    from kladml_core.workspace.values import value_named

    if index is None:
        return
    named = [name for name in (shown.sort, *shown.columns) if name and name not in (METRICS, PARAMS)]
    for line in unknown_names(index, [*wanted.values, *map(value_named, named)]):
        print(inert(line), file=sys.stderr)


def words_ask_help(context: typer.Context, words: Sequence[str]) -> bool:
    """Prints the help where -h is among the words, since a filter may begin with - too."""
    if "-h" in words:
        print(context.get_help())
        return True
    return False


def _print(rows: Sequence[RunRow], names: Sequence[str]) -> None:
    if not names:
        print_rows(_HEADS, [_cells(row) for row in rows])
        return
    from kladml_core.workspace.columns import columns_of
    from kladml_tui.run_cells import cell

    values = columns_of(("name", *names), rows)
    heads = ["run" if value.name == "name" and value.kind == "field" else value.title for value in values]
    print_rows(heads, [tuple(cell(value, row) for value in values) for row in rows])


def _cells(row: RunRow) -> tuple[str, ...]:
    from kladml_core.runs.event_text import metrics_text

    status = row.status
    chosen = [name for name in sorted(row.metrics) if name.startswith("val/")] or [
        name for name in row.metrics if name == "train/loss"
    ]
    # The newest validation figures, or the training loss where there are none.
    newest = metrics_text({name: row.metrics[name].last for name in chosen[:2]})
    why = status.why or ""
    why = why if len(why) <= _WHY_LETTERS else f"{why[: _WHY_LETTERS - 1]}…"
    created = "" if status.created is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(status.created))
    epoch = f"{status.epoch}/{status.total_epochs}" if status.total_epochs else str(status.epoch)
    word = status_words(status, row.place)
    return (row.reference, word, epoch, str(status.step), newest, clock(status.total_seconds), created, why)
