"""The commands about the configs of runs: config list, new, duplicate, edit, rename, check, schema, diff."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.errors import ConfigError, ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_config, choose_workspace
from kladml_tui.cli_runs import Json, Run, Workspace, above, find
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml_core.config.schema import Problem
    from kladml_core.settings import Settings

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A config file, with or without .yaml.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="The new file's name, with or without .yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, dotted, its value in YAML. May be repeated."),
]


def add_commands(group: typer.Typer) -> None:
    """Registers these commands."""
    group.command("list")(list_configs)
    for function in (new, duplicate, edit, rename, check, schema, diff):
        group.command(function.__name__)(function)


def list_configs(context: typer.Context, workspace: Workspace = None, json: Json = False) -> None:
    """Lists the workspace's configs, where their runs are filed, and how many problems each has."""
    from kladml_core.workspace.configs import listing

    settings = _settings(context, workspace)
    rows = listing(settings)
    if json:
        print_json([row.to_json() for row in rows])
    elif rows:
        cells = [
            (_shown(row.path, settings), "/".join(row.place or ()), row.model, _count(row.problems)) for row in rows
        ]
        print_rows(("config", "runs", "model", ""), cells)
    else:
        print("no configs")


def new(
    context: typer.Context,
    name: NewName,
    model: Annotated[
        str, typer.Option("--model", metavar="TARGET", help="module:Name or path/to/file.py:Name of the model.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="A registered dataset, a data file or module:function; else the function `load` beside the model.",
        ),
    ] = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Writes a config with what the model takes, filled in as far as the dataset's shape says it."""
    from kladml_core.config.template import template
    from kladml_core.workspace.configs import config_row, new_path, write_new

    settings = _settings(context, workspace)
    path = new_path(settings, name)
    made = template(settings.root, model, data)
    write_new(path, made.text)
    _tell_made(path, settings, json, open=list(made.open), problems=config_row(path, settings).to_json()["problems"])
    if not json:
        for key in made.open:
            _say(f"{key} is to be filled in: `kladml-tui config edit {quote(_shown(path, settings))}`")


def duplicate(
    context: typer.Context, config: Config, name: NewName, workspace: Workspace = None, json: Json = False
) -> None:
    """Copies a config under another name beside it."""
    from kladml_core.workspace.configs import duplicate as duplicate_config

    settings = _settings(context, workspace, config)
    _tell_made(duplicate_config(choose_config(config, settings.root), settings, name), settings, json)


def rename(
    context: typer.Context, config: Config, name: NewName, workspace: Workspace = None, json: Json = False
) -> None:
    """Gives a config another name in its folder, never over another one."""
    from kladml_core.workspace.configs import rename as rename_config

    settings = _settings(context, workspace, config)
    path, told = rename_config(choose_config(config, settings.root), settings, name)
    _tell_made(path, settings, json, warnings=[told] if told else [])
    if told and not json:
        _say(told)


def edit(context: typer.Context, config: Config, workspace: Workspace = None) -> None:
    """Opens a config in the editor that $VISUAL or $EDITOR names, and checks it afterwards."""
    from kladml_core.workspace.configs import config_row
    from kladml_tui.run_actions import edit_outside, outside_editor

    settings = _settings(context, workspace, config)
    path = choose_config(config, settings.root)
    edit_outside(outside_editor(), path)
    raise typer.Exit(_print_problems(config_row(path, settings).problems))


def check(
    context: typer.Context,
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="A config file; none means all.")] = None,
    overrides: Overrides = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Tells every problem of a config, or of all of the workspace's; exits with 0 when there is none."""
    from kladml_core.config.load import read
    from kladml_core.config.override import with_overrides
    from kladml_core.config.schema import problems
    from kladml_core.workspace.configs import listing

    settings = _settings(context, workspace, config)
    found: Sequence[Problem]
    if config is None:
        if overrides:
            raise ConfigError("--set belongs to one config", hint="Name the config that is checked")
        found = [problem for row in listing(settings) for problem in row.problems]
    else:
        document = with_overrides(read(choose_config(config, settings.root)), overrides or [])
        found = problems(document, workspace=settings.root, settings=settings)
    if json:
        keys = ("message", "file", "line", "column", "hint", "exit_code")
        print_json([{key: getattr(problem, key) for key in keys} for problem in found])
        raise typer.Exit(_worst(found))
    raise typer.Exit(_print_problems(found))


def schema() -> None:
    """Prints the JSON Schema of configs, for editors: every key with its description, type and choices."""
    from kladml_core.config.json_schema import json_schema

    print_json(json_schema())


def diff(context: typer.Context, config: Config, run: Run, workspace: Workspace = None, json: Json = False) -> None:
    """Shows in what a config, with its defaults, is another than the one that a run recorded."""
    from kladml_core.config.diff import MISSING
    from kladml_core.config.emit import dump_value
    from kladml_core.workspace.configs import differences

    settings = _settings(context, workspace, config)
    directory = find(context, run, settings.root)
    found = differences(choose_config(config, settings.root), directory, settings)
    if json:
        rows: list[dict[str, Any]] = []
        for one in found:
            values = {"config": one.config, "run": one.run}
            there = {name: value for name, value in values.items() if value is not MISSING}
            rows.append({"key": one.key, "change": one.change, **there})
        print_json({"run": directory.reference, "differences": rows})
    elif found:
        cells = [
            (one.key, *("–" if value is MISSING else dump_value(value) for value in (one.config, one.run)), one.change)
            for one in found
        ]
        print_rows(("key", "config", directory.reference, "change"), cells)
    else:
        print("no differences")


def _settings(context: typer.Context, workspace: Path | None, config: Path | None = None) -> Settings:
    return settings_of(choose_workspace(workspace or above(context), config))


def _tell_made(path: Path, settings: Settings, json: bool, **more: object) -> None:
    if json:
        print_json({"config": str(path), **more})
    else:
        print_rows(("config",), [(_shown(path, settings),)])


def _print_problems(found: Sequence[Problem]) -> int:
    for problem in found:
        print(inert(str(problem), newlines=True))
    if not found:
        print("no problems")
    return _worst(found)


def _worst(found: Sequence[Problem]) -> int:
    """The exit code of the first problem of a config; a wrong text before what it names, over several."""
    return min((int(problem.exit_code) for problem in found), default=int(ExitCode.FINISHED))


def _count(problems: Sequence[Problem]) -> str:
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else ""


def _shown(path: Path, settings: Settings) -> str:
    return str(path.relative_to(settings.root) if path.is_relative_to(settings.root) else path)


def _say(text: str) -> None:
    print(inert(text), file=sys.stderr)
