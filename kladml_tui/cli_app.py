"""The command line itself: the app, `--run`, and the commands that make or check files."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_config, choose_workspace
from kladml_tui import (
    cli_compare,
    cli_configs,
    cli_fetch,
    cli_list,
    cli_note,
    cli_notices,
    cli_prune,
    cli_runs,
    cli_settings,
    cli_stop,
)
from kladml_tui.cli_datasets import dataset_commands
from kladml_tui.cli_doctor import doctor
from kladml_tui.cli_help import CommandGroup
from kladml_tui.cli_projects import project_commands
from kladml_tui.cli_queue import queue_commands
from kladml_tui.cli_shared import open_app, print_json, print_rows, rings, settings_of
from kladml_tui.cli_sync import sync
from kladml_tui.cli_views import views_commands

app = typer.Typer(
    cls=CommandGroup,
    name="kladml-tui",
    help="Browse, edit, launch and watch PyTorch training. Without a command it opens the app.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_commands = typer.Typer(
    cls=CommandGroup,
    help="Configs of runs, and the settings of the workspace.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(config_commands, name="config")
cli_list.add_commands(app)
cli_runs.add_commands(app)
cli_note.add_commands(app)
app.command("stop")(cli_stop.stop)
cli_compare.add_commands(app)
cli_prune.add_commands(app)
cli_notices.add_commands(app)
cli_fetch.add_commands(app)
app.command("sync")(sync)
app.command("doctor")(doctor)
app.add_typer(queue_commands, name="queue")
app.add_typer(dataset_commands, name="datasets")
app.add_typer(project_commands, name="projects")
app.add_typer(views_commands, name="views")

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, dotted, its value in YAML. May be repeated."),
]


@app.callback()
def open_or_run(
    context: typer.Context,
    run: Annotated[Path | None, typer.Option("--run", metavar="CONFIG", help="Launch a config and follow it.")] = None,
    overrides: Overrides = None,
    detach: Annotated[bool, typer.Option("--detach", help="With --run: return once the worker runs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --run: one event a line on stdout.")] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="With --run: training processes.")
    ] = None,
    workspace: Workspace = None,
    version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False,
) -> None:
    """Opens the app, or with --run launches a config and follows it without a screen."""
    if version:
        from kladml_core.version import __version__

        print(f"kladml-tui {__version__}")
        raise typer.Exit
    only_run = {"--set": overrides, "--detach": detach, "--json": json, "--processes": processes}
    given = [name for name, value in only_run.items() if value]
    if run is None and given:
        raise ConfigError(
            f"{given[0]} here belongs to --run CONFIG", hint="Commands take their options after their name"
        )
    if context.invoked_subcommand is not None:
        if run is not None:
            raise ConfigError("--run stands alone", hint=f"Leave out {context.invoked_subcommand!r}")
        context.obj = workspace
        return
    if run is None:
        raise typer.Exit(open_app(workspace))
    from kladml_core.runs.attend import start_and_follow
    from kladml_core.runs.launch import launch, prepare
    from kladml_tui.headless import make_console

    root = choose_workspace(workspace, run)
    config = choose_config(run, root)
    words = overrides or []
    code = start_and_follow(
        lambda: prepare(config, workspace=root, overrides=words, processes=processes),
        launch,
        partial(make_console, json=json),
        detach=detach,
    )
    raise typer.Exit(code if detach else rings(code, root))


@app.command("init")
def init(
    directory: Annotated[Path, typer.Argument(help="Where; made when missing.")] = Path(),
    example: Annotated[
        str | None, typer.Option("--example", metavar="NAME", help="digits, tiny-gpt or diabetes.")
    ] = None,
    json: Json = False,
) -> None:
    """Makes a workspace. Writes what is missing, never over what is there."""
    from shlex import quote

    from kladml_core.workspace.init import configs_of, init_workspace

    made = init_workspace(directory, example)
    root = directory.resolve()
    config = configs_of(settings_of(root)) / f"{example}.yaml" if example else None
    if json:
        print_json({"workspace": str(root), "made": [str(path) for path in made], "config": config and str(config)})
        return
    if made:
        print_rows(("made",), [(str(path),) for path in made])
    else:
        print("everything was there already")
    dashes = "-- " if str(directory).startswith("-") else ""
    there = f"cd {dashes}{quote(str(directory))} && " if root != Path.cwd() else ""
    shown = config.relative_to(root) if config and config.is_relative_to(root) else config
    print(inert(f"next: {there}kladml-tui" + (f" --run {quote(str(shown))}" if shown else "")))


@app.command("themes")
def themes(json: Json = False) -> None:
    """Lists the themes that the app finds, and what is wrong with a broken one."""
    from kladml_tui.themes import load_themes

    found, notices = load_themes()
    if json:
        print_json([{"name": name, "dark": theme.dark} for name, theme in sorted(found.items())])
    else:
        print_rows(
            ("theme", "kind"), [(name, "dark" if theme.dark else "light") for name, theme in sorted(found.items())]
        )
    for notice in notices:
        print(inert(notice), file=sys.stderr)


@config_commands.callback()
def config_help(context: typer.Context) -> None:
    """Configs of runs, and the settings of the workspace."""
    if context.invoked_subcommand is None:
        print(inert(context.get_help(), newlines=True), file=sys.stderr)
        raise typer.Exit(ExitCode.BAD_TEXT)


cli_configs.add_commands(config_commands)
cli_settings.add_commands(config_commands)
