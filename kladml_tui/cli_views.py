"""The commands about saved views of the runs: list, save, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from kladml_core.errors import ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_help import CommandGroup
from kladml_tui.cli_list import Columns, FilterWords, Sort, tell_unknown, view_of, words_ask_help
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

views_commands = typer.Typer(
    cls=CommandGroup,
    help="Saved views of the runs: filter, sort and columns under a name.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The view's name.")]


@views_commands.callback()
def views_help(context: typer.Context) -> None:
    """Saved views of the runs: filter, sort and columns under a name."""
    if context.invoked_subcommand is None:
        import sys

        print(inert(context.get_help(), newlines=True), file=sys.stderr)
        raise typer.Exit(ExitCode.BAD_TEXT)


@views_commands.command("list")
def list_views(context: typer.Context, workspace: Workspace = None, json: Json = False) -> None:
    """Lists the saved views."""
    from kladml_core.workspace.views import read_views

    views = read_views(settings_of(choose_workspace(workspace or above(context))).data)
    if json:
        print_json([{"name": name, **view.to_json()} for name, view in views.items()])
    elif not views:
        print("no views")
    else:
        print_rows(
            ("view", "filter", "sort", "columns"),
            [
                (
                    name,
                    view.filter,
                    f"{view.sort}{' reversed' if view.reverse else ''}".strip(),
                    ", ".join(view.columns),
                )
                for name, view in views.items()
            ],
        )


@views_commands.command("save", context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
def save(
    context: typer.Context,
    name: Name,
    words: FilterWords = None,
    sort: Sort = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    columns: Columns = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Saves a view, over one of the same name; `runs --view NAME` and the app show it."""
    from kladml_core.workspace.choose_runs import fresh_index
    from kladml_core.workspace.filters import parse_words
    from kladml_core.workspace.views import save_view

    if words_ask_help(context, [name, *(words or [])]):
        return
    settings = settings_of(choose_workspace(workspace or above(context)))
    view = view_of(settings.data, words or [], view=None, sort=sort, reverse=reverse, columns=columns)
    tell_unknown(fresh_index(settings), parse_words([view.filter]), view)
    save_view(settings.data, name, view)
    if json:
        print_json({"name": name, **view.to_json()})
    else:
        print(inert(f"saved {name}"))


@views_commands.command("remove")
def remove(context: typer.Context, name: Name, workspace: Workspace = None, json: Json = False) -> None:
    """Removes a view. Runs stay."""
    from kladml_core.workspace.views import remove_view

    remove_view(settings_of(choose_workspace(workspace or above(context))).data, name)
    if json:
        print_json({"name": name, "removed": True})
    else:
        print(inert(f"removed {name}"))
