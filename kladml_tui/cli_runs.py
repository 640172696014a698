"""The commands about runs that exist: runs, show, watch, stop, resume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.errors import ConfigError, ExitCode
from kladml_tui.cli_shared import choose_workspace, print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.workspace.rows import RunRow

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A reference, or any unambiguous end of one: run_0007, 7.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]


def add_commands(app: typer.Typer) -> None:
    """Registers these commands."""
    for function in (runs, show, watch, stop, resume):
        app.command(function.__name__)(function)


def above(context: typer.Context) -> Path | None:
    """`--workspace` where it was written before the command."""
    named = context.find_root().obj
    return named if isinstance(named, Path) else None


def runs(
    context: typer.Context,
    status: Annotated[str | None, typer.Option("--status", help="Only runs with this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 100,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Lists the runs of the workspace, newest first."""
    from kladml_core.runs.ref import all_runs
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.runs.status import STATUSES
    from kladml_core.workspace.rows import run_row

    if status is not None and status not in STATUSES:
        raise ConfigError(f"there is no status {status!r}", hint=f"it is one of {', '.join(STATUSES)}")
    data = settings_of(choose_workspace(workspace or above(context))).data
    rows = sorted(
        (run_row(RunDirectory(path)) for path in all_runs(data)), key=lambda row: row.created or 0, reverse=True
    )
    rows = [row for row in rows if status in (None, row.status.status)]
    if json:
        print_json([_row_json(row) for row in rows[:limit]])
        return
    if not rows:
        print("no runs")
        return
    heads = ("run", "status", "epoch", "step", "best", "time", "created")
    print_rows(heads, [_cells(row) for row in rows[:limit]])
    if len(rows) > limit:
        print(f"… and {len(rows) - limit} older; --limit shows more")


def show(context: typer.Context, run: Run, workspace: Workspace = None, json: Json = False) -> None:
    """Tells what a run is, how it stands, its metrics and its checkpoints."""
    from kladml_core.backends.console_publisher import figure
    from kladml_core.runs.checkpoint_list import list_checkpoints
    from kladml_core.runs.files import read_object
    from kladml_core.workspace.rows import run_row

    directory = _find(context, run, workspace)
    row = run_row(directory)
    metrics = read_object(directory.summary) or {}
    checkpoints = list_checkpoints(directory)
    if json:
        from dataclasses import asdict

        more = {"identity": directory.read_run(), "attempts": directory.latest_attempt(), "metrics": metrics}
        print_json({**_row_json(row), **more, "checkpoints": [asdict(checkpoint) for checkpoint in checkpoints]})
        return
    values = _row_json(row)
    facts = [
        (key, str(value)) for key, value in values.items() if value not in (None, "") and key not in ("last", "best")
    ]
    print_rows(("", ""), facts)
    if metrics:
        print()
        keys = ("last", "last_step", "min", "min_step", "max", "max_step")
        lines = [(name, *(figure(summary.get(key)) for key in keys)) for name, summary in metrics.items()]
        print_rows(("metric", "last", "@", "min", "@", "max", "@"), lines)
    if checkpoints:
        print()
        marks = ("best", "latest")
        lines = [
            (one.name, str(one.step), f"{one.bytes / 1e6:.1f} MB",
             " ".join(mark for mark in marks if getattr(one, mark)) + ("" if one.valid else "invalid"))
            for one in checkpoints
        ]  # fmt: skip
        print_rows(("checkpoint", "step", "size", ""), lines)


def watch(context: typer.Context, run: Run, workspace: Workspace = None, json: Json = False) -> None:
    """Follows a run to its end and exits with its code. Ctrl-C ends the watching, not the run."""
    from kladml_tui import headless

    raise typer.Exit(headless.watch(_find(context, run, workspace), json=json))


def stop(
    context: typer.Context,
    run: Run,
    now: Annotated[bool, typer.Option("--now", help="Signal the worker instead of waiting for its next step.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the run has ended.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Asks a run to save a checkpoint and stop."""
    from kladml_core.runs.status import LIVE, reconcile
    from kladml_core.runs.stop import request_stop, terminate

    directory = _find(context, run, workspace)
    if now:
        terminate(directory)
    else:
        request_stop(directory, by="kladml-tui stop")
    status = reconcile(directory)
    while wait and status.status in LIVE:
        time.sleep(0.1)
        status = reconcile(directory)
    if json:
        print_json({"run": directory.reference, "status": status.status, "exit_code": status.exit_code})
    else:
        print_rows(("run", "status"), [(directory.reference, status.status if wait else "asked to stop")])


def resume(
    context: typer.Context,
    run: Run,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a schedule key. May be repeated.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the worker runs.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Goes on with a run from its newest checkpoint and follows it."""
    from kladml_core.runs.launch import resume as resume_run
    from kladml_tui.headless import start_and_follow

    root = choose_workspace(workspace or above(context))
    raise typer.Exit(
        start_and_follow(
            lambda: _find(context, run, workspace),
            lambda directory: resume_run(directory, workspace=root, overrides=overrides or []),
            json=json,
            detach=detach,
        )
    )


def _find(context: typer.Context, run: str, workspace: Path | None) -> RunDirectory:
    from kladml_core.runs.ref import find_run

    return find_run(settings_of(choose_workspace(workspace or above(context))).data, run)


def _row_json(row: RunRow) -> dict[str, Any]:
    status = row.status
    return {
        "run": row.reference,
        "path": str(row.run.path),
        "status": status.status,
        "stalled": status.stalled,
        "attempt": status.attempt,
        "phase": status.phase,
        "epoch": status.epoch,
        "total_epochs": status.total_epochs,
        "step": status.step,
        "total_steps": status.total_steps,
        "exit_code": status.exit_code,
        "reason": status.damaged or status.reason,
        "created": row.created,
        "started": row.started,
        "ended": row.ended,
        "seconds": status.seconds,
        "last": row.last,
        "best": row.best,
    }


def _cells(row: RunRow) -> tuple[str, ...]:
    from time import localtime, strftime

    from kladml_tui.headless_console import clock

    status = row.status
    epoch = f"{status.epoch}/{status.total_epochs}" if status.total_epochs else str(status.epoch)
    created = strftime("%Y-%m-%d %H:%M", localtime(row.created)) if row.created else ""
    name = f"{status.status} (stalled)" if status.stalled else status.status
    code = f" {status.exit_code}" if status.exit_code and status.exit_code != ExitCode.STOPPED else ""
    return (row.reference, name + code, epoch, str(status.step), str(row.best or ""), clock(status.seconds), created)
