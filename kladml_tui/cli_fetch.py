"""The command that fetches runs from the storage: what it holds, and a run of it with its checkpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.fetch import Fetched
    from kladml_core.runs.fetch_files import Progress
    from kladml_core.runs.stored import Store, StoredRun

_LOOK_SECONDS = 0.5
_CLEAR = "\r\x1b[K"


def add_commands(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("fetch")(fetch)


def fetch(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN[@CHECKPOINT]",
            help="A run in the storage, and of its checkpoints the one to be fetched: its step, best or last. With "
            "--list the beginning of references.",
        ),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            "--checkpoints", metavar="WHICH", help="best, last, all or none; the best and the last without this."
        ),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the runs that the storage holds.")] = False,
    bucket: Annotated[str | None, typer.Option("--bucket", help="Another bucket than kladml.yaml names.")] = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Fetches a run from the storage of kladml.yaml, so that it can be looked at and resumed here."""
    if listing and checkpoints is not None:
        raise ConfigError("--list takes no --checkpoints")
    if run is None and not listing:
        raise ConfigError("fetch needs a run", hint="`kladml-tui fetch --list` shows what the storage holds")
    settings = settings_of(choose_workspace(workspace or above(context)))
    from kladml_core.runs.uploads import store_of

    store = store_of(settings, bucket)
    if store is None:
        raise UnusableError(
            "there is no storage to fetch from", hint="Set storage.backend in kladml.yaml, or options.root for local"
        )
    if listing:
        _list(store, run or "", json)
        return
    from kladml_core.runs.fetch import fetch as fetch_run

    with _progress() as tell:
        found = fetch_run(settings.data, store, run or "", checkpoints=checkpoints, progress=tell)
    if json:
        print_json(found.to_json())
    else:
        _show(found)


def _list(store: Store, prefix: str, json: bool) -> None:
    from kladml_core.runs.fetch import stored_runs

    runs: list[StoredRun] = []
    for found in stored_runs(store, prefix):
        if isinstance(found, tuple):
            print(inert(f"{found[0]}: {found[1]}"), file=sys.stderr)
        else:
            runs.append(found)
    if json:
        print_json([one.to_json() for one in runs])
    elif not runs:
        print("no runs")
    else:
        heads = ("run", "status", "step", "checkpoints", "size", "host", "stored")
        print_rows(heads, [_cells(one) for one in runs])


def _cells(run: StoredRun) -> tuple[str, ...]:
    from kladml_core.runs.event_text import size_text
    from kladml_core.runs.fetch import is_live

    status = f"{run.status} (silent)" if run.live and not is_live(run) else run.status
    steps = [f"{one.step}{' best' if one.best else ''}" for one in reversed(run.checkpoints)]
    shown = ", ".join(steps[:3]) + (f", … {len(steps) - 3} more" if len(steps) > 3 else "")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.time))
    return run.reference, status, str(run.step), shown, size_text(run.bytes), run.host, when


def _show(found: Fetched) -> None:
    from kladml_core.runs.event_text import size_text

    what = {"new": "fetched", "added": "checkpoints added", "replaced": "brought to where it has gone on"}[found.how]
    facts = [
        ("run", found.run),
        ("", f"{what}: {found.files} files, {size_text(found.bytes)}"),
        ("status", f"{found.status} on {found.host}" if found.host else found.status),
        ("checkpoints", ", ".join(found.checkpoints) or "none"),
        ("path", str(found.path)),
    ]
    print_rows(("", ""), facts)
    if found.live:
        print(inert(f"it was live on {found.host} a moment ago: stop it there before it goes on here"), file=sys.stderr)
    elif found.checkpoints:
        print(inert(f"`kladml-tui resume {quote(found.run)}` goes on with it here"), file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Tells on a terminal how far a fetch has got; what is under way is seen growing on the disk."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from kladml_core.runs.disk_use import disk_use
    from kladml_core.runs.event_text import size_text

    newest: list[Progress] = []
    over = Event()

    def draw() -> None:
        while not over.wait(_LOOK_SECONDS):
            if newest:
                now = newest[-1]
                got = min(max(now.bytes, disk_use(now.directory)), now.of_bytes)
                text = f"{now.files} of {now.of_files} files  {size_text(got)} of {size_text(now.of_bytes)}"
                print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)

    thread = Thread(target=draw, name="progress", daemon=True)
    thread.start()
    try:
        yield lambda progress: newest.__setitem__(slice(None), [progress])
    finally:
        over.set()
        thread.join()
        print(_CLEAR, end="", file=sys.stderr, flush=True)
