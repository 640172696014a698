"""The commands about runs that exist: show, watch, resume."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.errors import ExitCode
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_shared import clock, print_json, print_rows, rings, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.checkpoint_list import CheckpointRow
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.runs.status import RunStatus
    from kladml_core.workspace.rows import RunRow

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A reference, or any unambiguous end of one: run_0007, 7.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]


def add_commands(app: typer.Typer) -> None:
    """Registers these commands."""
    for function in (show, watch, resume):
        app.command(function.__name__)(function)


def above(context: typer.Context) -> Path | None:
    """`--workspace` where it was written before the command."""
    named = context.find_root().obj
    return named if isinstance(named, Path) else None


def show(context: typer.Context, run: Run, workspace: Workspace = None, json: Json = False) -> None:
    """Tells what a run is, how it stands, its metrics, its checkpoints and what it takes on the disk."""
    from kladml_core.runs.checkpoint_list import list_checkpoints
    from kladml_core.runs.disk_use import run_use
    from kladml_core.runs.event_text import size_text
    from kladml_core.runs.files import read_object
    from kladml_core.runs.queue_items import places
    from kladml_core.workspace.rows import run_row

    directory = find(context, run, workspace)
    row = run_row(directory).at(places(settings_of(choose_workspace(workspace or above(context))).data))
    metrics = read_object(directory.summary) or {}
    checkpoints = list_checkpoints(directory)
    use = run_use(directory)
    if json:
        from dataclasses import asdict

        more: dict[str, Any] = {
            "identity": directory.read_run(),
            "attempts": directory.latest_attempt(),
            "metrics": metrics,
        }
        more |= {"disk": asdict(use), "checkpoints": [asdict(checkpoint) for checkpoint in checkpoints]}
        print_json({**row.to_json(), **more})
        return
    held = size_text(sum(use.checkpoints.values()))
    disk = f"{size_text(use.bytes)}, checkpoints {held}" if use.checkpoints else size_text(use.bytes)
    print_rows(("", ""), [*_facts(row), ("disk", disk)])
    if metrics:
        print()
        lines = [
            (name, *(cell for key in ("last", "min", "max") for cell in _value_at_step(summary, key)))
            for name, summary in metrics.items()
            if isinstance(summary, dict)
        ]
        print_rows(("metric", "last", "@", "min", "@", "max", "@"), lines)
    if checkpoints:
        print()
        lines = [(one.name, str(one.step), size_text(one.bytes), _marks(one)) for one in checkpoints]
        print_rows(("checkpoint", "step", "size", ""), lines)


def watch(context: typer.Context, run: Run, workspace: Workspace = None, json: Json = False) -> None:
    """Follows a run to its end and exits with its code. Ctrl-C ends the watching, not the run."""
    from kladml_core.runs.attend import watch as watch_run
    from kladml_tui.headless import make_console

    root = choose_workspace(workspace or above(context))
    raise typer.Exit(rings(watch_run(find(context, run, root), partial(make_console, json=json)), root))


def resume(
    context: typer.Context,
    run: Run,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a schedule key. May be repeated.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the worker runs.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Although a fetched run may be live where it came from, or went on there.")
    ] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Goes on with a run from its newest checkpoint and follows it."""
    from kladml_core.runs.attend import start_and_follow
    from kladml_core.runs.launch import resume as resume_run
    from kladml_tui.headless import make_console

    root = choose_workspace(workspace or above(context))
    code = start_and_follow(
        lambda: find(context, run, workspace),
        lambda directory: resume_run(directory, workspace=root, overrides=overrides or [], force=force),
        partial(make_console, json=json),
        detach=detach,
    )
    raise typer.Exit(code if detach else rings(code, root))


def find(context: typer.Context, run: str, workspace: Path | None) -> RunDirectory:
    """The run that is meant, in the workspace that is meant.

    Raises:
        UnusableError: there is none, or several.
    """
    from kladml_core.runs.ref import find_run

    return find_run(settings_of(choose_workspace(workspace or above(context))).data, run)


def _facts(row: RunRow) -> list[tuple[str, str]]:
    """What `show` says of a run, without what is not known of it."""
    status = row.status
    figures = {
        "run": row.reference,
        "status": status_words(status, row.place),
        "reason": status.why or status.reason,
        "attempt": status.attempt,
        "phase": status.phase if status.live else None,
        "epoch": _of(status.epoch, status.total_epochs),
        "step": _of(status.step, status.total_steps),
        "created": _moment(status.created),
        "started": _moment(status.started),
        "ended": _moment(status.ended),
        "time": _time(status),
        "worker": f"{status.pid} on {status.host}" if status.live and status.pid else None,
        "tags": ", ".join(row.tags),
        "note": row.note,
        "path": row.run.path,
    }
    return [(key, str(value)) for key, value in figures.items() if value not in (None, "")]


def _value_at_step(summary: Mapping[str, Any], key: str) -> tuple[str, str]:
    """A figure of summary.json and the step it belongs to; both empty where there was no finite value."""
    from kladml_core.runs.event_text import figure

    value, step = summary.get(key), summary.get(f"{key}_step")
    return ("", "") if value is None else (figure(value), str(step))


def status_words(status: RunStatus, place: int | None = None) -> str:
    """The status, its place in the queue, whether it is stalled, and the exit code where it says more."""
    if place is not None:
        return f"{status.status} #{place}"
    name = status.status if status.word == status.status else f"{status.status} ({status.word})"
    return f"{name} {status.exit_code}" if status.exit_code and status.exit_code != ExitCode.STOPPED else name


def _time(status: RunStatus) -> str:
    """Of all attempts; of the newest too where there were several."""
    several = status.attempt is not None and status.attempt > 1 and status.earlier_seconds is not None
    return f"{clock(status.total_seconds)}{f' (attempt {status.attempt}: {clock(status.seconds)})' if several else ''}"


def _of(done: int, total: int | None) -> str:
    return f"{done}/{total}" if total else str(done)


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _marks(checkpoint: CheckpointRow) -> str:
    marks = " ".join(mark for mark in ("best", "latest", "pinned") if getattr(checkpoint, mark))
    return marks if checkpoint.valid else f"invalid: {checkpoint.problem} {marks}".rstrip()
