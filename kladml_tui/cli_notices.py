"""The commands about notices: what is told and to whom, and a try of the command."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kladml_core.errors import ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_help import CommandGroup
from kladml_tui.cli_runs import above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]


def add_commands(app: typer.Typer) -> None:
    """Registers these commands."""
    group = typer.Typer(
        cls=CommandGroup,
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
    from kladml_core.runs.notices import overview

    found = overview(settings_of(choose_workspace(workspace or above(context))))
    if json:
        print_json(asdict(found))
        return
    print_rows(("", ""), found.facts)
    if found.log:
        print(inert(f"\n{found.log_file}\n" + "\n".join(found.log), newlines=True))


def try_command(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="The kind of event: run_finished, run_failed, …")] = "run_finished",
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Runs the command of kladml.yaml with an event that says `test`; prints what it wrote; 1 where it failed."""
    from kladml_core.runs.notices import rehearse

    event, ran = rehearse(settings_of(choose_workspace(workspace or above(context))), kind)
    if json:
        print_json({"event": event, "exit_code": ran.exit_code, "output": ran.output})
    else:
        print(inert(ran.output.rstrip("\n"), newlines=True))
        print(inert(str(ran).partition("\n")[0]), file=sys.stderr)
    raise typer.Exit(ExitCode.FINISHED if ran.exit_code == 0 else ExitCode.FAILED)
