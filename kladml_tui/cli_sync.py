"""The command about what goes on behind runs: how far they are tracked and uploaded, and sending what is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.uploads import PendingUpload
    from kladml_core.tracking.overview import RunTracking, Tracking

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]
Wait = Annotated[
    float | None,
    typer.Option(
        "--wait", metavar="SECONDS", min=0, help="Wait until all is sent, at most so long; 3 where it is not."
    ),
]


def sync(
    context: typer.Context,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]…", help="These runs; else those under way.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run of the workspace, those never sent too.")] = False,
    wait: Wait = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Tells how far runs are tracked and uploaded, and sends what is left of them in the background."""
    from kladml_core.runs import uploads
    from kladml_core.runs.ref import find_run
    from kladml_core.tracking.overview import every_run, let_go, look, send, wait_until_sent

    if runs and every:
        raise ConfigError("--all means every run", hint="Name runs, or say --all")
    settings = settings_of(choose_workspace(workspace or above(context)))
    wanted = [find_run(settings.data, run) for run in runs] if runs else every_run(settings) if every else None
    let_go(settings)
    uploads.let_go(settings)
    found = look(settings, wanted)
    waiting = [run.directory for run in found.runs if run.waits]
    # Runs that are named, or all of them, are sent on purpose: then it is told where there is nothing to send them to.
    stored = uploads.is_wanted(settings)
    if wanted is not None and (waiting or (found.target is None and not stored)):
        send(settings, waiting)
    elif wanted is None and found.runs and found.pid is None and found.refusal is None:
        send(settings, ())
    to_store = [uploads.uid_of(run) for run in wanted or ()]
    if wanted is not None:
        left_here = {one.uid for one in uploads.outstanding(settings, wanted) if one.files}
        uploads.send(settings, [run for run in wanted if uploads.uid_of(run) in left_here])
    else:
        uploads.go_on(settings)
    left: list[object] = []
    if wait is not None:
        began = time.monotonic()
        left = [*wait_until_sent(settings.data, [run.uid for run in found.runs], wait)]
        uids = None if wanted is None else [uid for uid in to_store if uid is not None]
        left += uploads.wait_until_uploaded(settings.data, max(0.0, wait - (time.monotonic() - began)), uids)
    found = look(settings, wanted)
    pending = uploads.pending(settings.data) if wanted is None else uploads.outstanding(settings, wanted)
    target = uploads.target_of(settings) if stored else None
    if json:
        print_json({**found.to_json(), "storage": target, "uploads": [asdict(one) for one in pending]})
    else:
        _show(found)
        if target is not None:
            _show_uploads(target, pending)
    raise typer.Exit(ExitCode.UNUSABLE if left else ExitCode.FINISHED)


def _show(found: Tracking) -> None:
    process = str(found.pid) if found.pid is not None else "none; it is started where something is to be sent"
    facts = [("tracker", found.target or "none; set tracker.backend in kladml.yaml")]
    if found.target is not None:
        facts += [("guarantee", found.guarantee or "known once the first run was begun"), ("process", process)]
    if found.refusal is not None:
        facts.append(("refused", found.refusal))
    print_rows(("", ""), facts)
    if found.runs:
        print()
        heads = ("run", "state", "sent", "values left", "left", "refused", "")
        print_rows(heads, [_cells(run) for run in found.runs])
    for run in found.runs:
        for text in run.refused:
            print(inert(f"{run.run} refused  {text}"), file=sys.stderr)


def _show_uploads(target: str, pending: Sequence[PendingUpload]) -> None:
    from kladml_core.runs.event_text import size_text

    print()
    print_rows(("", ""), [("storage", target)])
    if pending:
        print()
        rows = []
        for one in pending:
            state = "refused" if one.refused else "failing" if one.error else "running" if one.live else "pending"
            state = state if one.files or one.error or one.live else "uploaded"
            size = size_text(one.bytes) if one.files else ""
            rows.append((one.run, state, str(one.files or ""), size, f"{one.error or ''}{_since(one.error_since)}"))
        print_rows(("run", "state", "files left", "left", ""), rows)


def _since(moment: float | None) -> str:
    return "" if moment is None else time.strftime(" since %Y-%m-%d %H:%M", time.localtime(moment))


def _cells(run: RunTracking) -> tuple[str, ...]:
    from kladml_core.runs.event_text import size_text

    notes = [f"{run.error}{_since(run.since)}"] if run.error else []
    notes += [f"no {', '.join(run.lacks)} there"] if run.lacks else []
    notes += [f"{run.given_up} of the values sent were given up by a resume"] if run.given_up else []
    notes += [run.guarantee] if run.guarantee == "at least once" else []
    refused = str(run.refused_count) if run.refused_count else ""
    left = size_text(run.bytes) if run.bytes else ""
    return (run.run, run.state, str(run.sent), str(run.records or ""), left, refused, "; ".join(notes))
