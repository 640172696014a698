"""The commands about the workspace's settings: config show, get, set."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows

if TYPE_CHECKING:
    from kladml_core.workspace.setting_list import Setting

Key = Annotated[str, typer.Argument(metavar="KEY", help="A dotted key, e.g. ui.theme, or a section.")]


def add_commands(group: typer.Typer) -> None:
    """Registers these commands."""
    for name, function in (("show", show), ("get", get), ("set", set_)):
        group.command(name)(function)


def show(
    context: typer.Context,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say what each comes from: default, kladml.yaml:LINE or $VARIABLE.")
    ] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Lists the settings that hold here: the environment before kladml.yaml before the defaults. Secrets are ***."""
    from kladml_core.workspace.setting_list import list_settings

    found = list_settings(choose_workspace(workspace or above(context)))
    if json:
        print_json([setting.to_json() for setting in found])
    elif origin:
        cells = [(setting.key, _text(setting.value), setting.place or setting.origin) for setting in found]
        print_rows(("key", "value", "origin"), cells)
    else:
        print_rows(("key", "value"), [(setting.key, _text(setting.value)) for setting in found])


def get(context: typer.Context, key: Key, workspace: Workspace = None, json: Json = False) -> None:
    """Prints the value of one setting, or of a section."""
    from kladml_core.workspace.setting_list import get_setting

    setting = get_setting(choose_workspace(workspace or above(context)), key)
    if json:
        print_json(setting.to_json())
    elif isinstance(setting.value, str):
        print(inert(setting.value, newlines=True))
    else:
        print(inert(_text(setting.value)))


def set_(
    context: typer.Context,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="As in the file; null is the default again.")],
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Writes one setting into kladml.yaml, whose comments and order stay. A wrong key or value changes nothing.

    A value that begins with a dash comes after `--`.
    """
    from kladml_core.workspace.setting_list import set_setting

    setting = set_setting(choose_workspace(workspace or above(context)), key, value)
    if json:
        print_json(setting.to_json())
    else:
        print_rows(("key", "value", "origin"), [_row(setting)])
        if setting.origin == "environment":
            print(inert(f"{setting.place} wins over what was written"), file=sys.stderr)


def _row(setting: Setting) -> tuple[str, str, str]:
    return setting.key, _text(setting.value), setting.place or setting.origin


def _text(value: Any) -> str:
    """A value as `config set` takes it."""
    from kladml_core.config.emit import dump_value

    return dump_value(value)
