"""The commands about notices: what is told and to whom, and a try of the command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode, UnusableError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]
_LOG_LINES = 10


def add_commands(app: typer.Typer) -> None:
    """Registers these commands."""
    group = typer.Typer(
        help="What is told of runs, and a try of it.",
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode=None,
    )
    group.callback()(notices)
    group.command("test")(try_command)
    app.add_typer(group, name="notices")


def notices(context: typer.Context, workspace: Workspace = None, json: Json = False) -> None:
    """Tells what kladml.yaml wants told, which runs are listened to, and how the last commands went."""
    if context.invoked_subcommand is not None:
        return
    from kladml_core.runs.background import holder, log_file
    from kladml_core.runs.notices import KINDS, PROCESS, watched

    settings = settings_of(choose_workspace(workspace or above(context)))
    listening = [entry.run.reference for entry in watched(settings.data)]
    holding = holder(settings.data, PROCESS)
    log = log_file(settings.data, PROCESS)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:] if log.is_file() else []
    if json:
        found = {"bell": settings.notices.bell, "command": settings.notices.command, "kinds": KINDS}
        print_json({**found, "listening": listening, "pid": holding and holding["pid"], "log": lines})
        return
    facts = [
        ("bell", "on" if settings.notices.bell else "off"),
        ("command", settings.notices.command or "none; set notices.command in kladml.yaml"),
        ("told", ", ".join(kind.replace("_", " ") for kind in KINDS)),
        *(("listening to", reference) for reference in listening),
        *([("process", str(holding["pid"]))] if holding else []),
    ]
    print_rows(("", ""), facts)
    if lines:
        print(inert(f"\n{log}\n" + "\n".join(lines), newlines=True))


def try_command(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="The kind of event: run_finished, run_failed, …")] = "run_finished",
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Runs the command of kladml.yaml with an event that says `test`; prints what it wrote and exits with its code."""
    from kladml_core.runs.notice_command import run_command
    from kladml_core.runs.notices import KINDS, example

    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is not told", hint=f"The kinds are {', '.join(KINDS)}")
    settings = settings_of(choose_workspace(workspace or above(context)))
    if settings.notices.command is None:
        raise UnusableError("there is no command to try", hint="Set notices.command in kladml.yaml")
    event = example(kind, settings.data)
    ran = run_command(settings.notices.command, event, settings.root)
    if json:
        print_json({"event": event, "exit_code": ran.exit_code, "output": ran.output})
    else:
        print(inert(ran.output.rstrip("\n"), newlines=True))
        print(inert(str(ran).partition("\n")[0]), file=sys.stderr)
    raise typer.Exit(ExitCode.FAILED if ran.exit_code is None else ran.exit_code)
