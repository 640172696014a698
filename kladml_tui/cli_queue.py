"""The commands of the queue: add, list, move, remove, pause, run, retry."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode, UnusableError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_config, choose_workspace
from kladml_tui.cli_help import CommandGroup
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import clock, print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.queue_list import Entry
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.settings import Settings

queue_commands = typer.Typer(cls=CommandGroup, invoke_without_command=True, add_completion=False, rich_markup_mode=None)

Queued = Annotated[str, typer.Argument(metavar="RUN", help="A run in the queue: run_0007, 7.")]
SeveralQueued = Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs in the queue: run_0007, 7.")]
_BY = "kladml-tui queue"


@queue_commands.callback()
def queue_help(context: typer.Context) -> None:
    """Runs that wait for a free GPU, or for their turn on the CPU; they start with the app closed too."""
    if context.invoked_subcommand is None:
        print(inert(context.get_help(), newlines=True), file=sys.stderr)
        raise typer.Exit(ExitCode.BAD_TEXT)


@queue_commands.command("add")
def add(
    context: typer.Context,
    configs: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG…", help="Configs to train; or runs that ended, to go on with: run_0007."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, dotted, its value in YAML. May be repeated."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Training processes; each takes a GPU.")
    ] = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Puts configs at the end of the queue.

    They are frozen as they are now; all are checked before any is added.
    """
    from kladml_core.runs.launch import Plan, prepare
    from kladml_core.runs.queue import enqueue, enqueue_run
    from kladml_core.runs.queue_list import is_paused
    from kladml_core.runs.rundir import RunDirectory

    root = choose_workspace(workspace or above(context), Path(configs[0]))
    words = [*(overrides or []), *([] if processes is None else [f"launch.processes={processes}"])]

    def check(text: str) -> Plan | RunDirectory:
        found = _config_or_run(text, root)
        return found if isinstance(found, RunDirectory) else prepare(found, workspace=root, overrides=words)

    def put(what: Plan | RunDirectory) -> Entry:
        if isinstance(what, RunDirectory):
            return enqueue_run(what, workspace=root, overrides=words, by=f"{_BY} add")
        return enqueue(what, by=f"{_BY} add")

    checked = [check(text) for text in configs]
    for what in checked:
        for warning in what.warnings if isinstance(what, Plan) else ():
            print(inert(f"warning: {warning}"), file=sys.stderr)
    _print_entries([put(what) for what in checked], json=json)
    if is_paused(settings_of(root).data):
        print("kladml-tui: the queue is paused; `kladml-tui queue run` goes on", file=sys.stderr)


@queue_commands.command("list")
def list_queue(context: typer.Context, workspace: Workspace = None, json: Json = False) -> None:
    """Lists what runs, what waits and what failed."""
    from kladml_core.runs.queue_items import damaged_items
    from kladml_core.runs.queue_list import ensure_scheduler, entries, is_paused

    settings = _settings(context, workspace)
    ensure_scheduler(settings)
    for path in damaged_items(settings.data):
        hint = "queue the run again with `kladml-tui queue add RUN`, and remove the file"
        print(inert(f"kladml-tui: {path} is damaged: {hint}"), file=sys.stderr)
    found, paused = entries(settings.data), is_paused(settings.data)
    if json:
        print_json({"paused": paused, "items": [entry.to_json() for entry in found]})
        return
    if found:
        _print_entries(found, json=False)
    else:
        print("the queue is empty")
    if paused:
        print("paused: `kladml-tui queue run` goes on")


@queue_commands.command("move")
def move(
    context: typer.Context,
    run: Queued,
    where: Annotated[str, typer.Argument(metavar="WHERE", help="up, down, top, bottom, or a place: 1 is next.")],
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Gives a run that waits another place."""
    from kladml_core.runs.queue import move as move_entry
    from kladml_core.runs.queue_list import find_entry

    settings = _settings(context, workspace)
    entry = find_entry(settings.data, run)
    _print_entries([move_entry(settings.data, entry, _place(where, entry))], json=json)


@queue_commands.command("remove")
def remove(context: typer.Context, runs: SeveralQueued, workspace: Workspace = None, json: Json = False) -> None:
    """Takes runs out of the queue.

    Those that waited are stopped before they began; `queue add RUN` takes them back.
    """
    from kladml_core.runs.queue import remove as remove_entry
    from kladml_core.runs.queue_list import find_entry

    settings = _settings(context, workspace)
    found = [find_entry(settings.data, run) for run in runs]
    for entry in found:
        remove_entry(settings.data, entry)
    if json:
        print_json([{"run": entry.reference, "removed": True} for entry in found])
    else:
        print_rows(("removed",), [(entry.reference,) for entry in found])


@queue_commands.command("pause")
def pause(context: typer.Context, workspace: Workspace = None, json: Json = False) -> None:
    """Starts nothing more; what runs goes on."""
    from kladml_core.runs.queue import pause as pause_queue

    pause_queue(_settings(context, workspace).data)
    _say_paused(True, json=json)


@queue_commands.command("run")
def run(context: typer.Context, workspace: Workspace = None, json: Json = False) -> None:
    """Ends a pause."""
    from kladml_core.runs.queue import proceed

    proceed(_settings(context, workspace))
    _say_paused(False, json=json)


@queue_commands.command("retry")
def retry(context: typer.Context, runs: SeveralQueued, workspace: Workspace = None, json: Json = False) -> None:
    """Has runs that failed wait again.

    They go on from their newest checkpoint; without one their config comes in as a new run.
    """
    from kladml_core.runs.queue import retry as retry_entry
    from kladml_core.runs.queue_list import find_entry

    root = choose_workspace(workspace or above(context))
    data = settings_of(root).data
    found = [find_entry(data, run) for run in runs]
    _print_entries([retry_entry(entry, workspace=root, by=f"{_BY} retry") for entry in found], json=json)


def _settings(context: typer.Context, workspace: Path | None) -> Settings:
    return settings_of(choose_workspace(workspace or above(context)))


def _config_or_run(text: str, root: Path) -> Path | RunDirectory:
    """The config of that name, or where there is none the run."""
    from kladml_core.runs.ref import find_run

    try:
        return choose_config(Path(text), root)
    except UnusableError:
        if text.endswith((".yaml", ".yml")):
            raise
    return find_run(settings_of(root).data, text)


def _place(where: str, entry: Entry) -> int:
    now = entry.place or 1
    found = {"up": now - 1, "down": now + 1, "top": 1, "bottom": sys.maxsize}.get(where)
    if found is None and where.isdecimal():
        found = int(where)
    if found is None:
        raise ConfigError(f"there is no place {where!r}", hint="It is up, down, top, bottom, or a number: 1 is next")
    return found


def _say_paused(paused: bool, *, json: bool) -> None:
    if json:
        print_json({"paused": paused})
    else:
        print("the queue is paused; what runs goes on" if paused else "the queue goes on")


def _print_entries(found: Iterable[Entry], *, json: bool) -> None:
    found = list(found)
    if json:
        print_json([entry.to_json() for entry in found])
        return
    heads = ("place", "run", "state", "needs", "waits", "user", "reason")
    print_rows(heads, [_cells(entry) for entry in found])


def _cells(entry: Entry) -> tuple[str, ...]:
    item = entry.item
    waits = clock(time.time() - item.created) if entry.place is not None else ""
    place = f"#{entry.place}" if entry.place is not None else ""
    return (place, item.run, entry.state, item.need.text, waits, item.user, entry.reason or "")
